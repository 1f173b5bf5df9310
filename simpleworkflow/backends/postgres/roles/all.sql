-- The least rights of those who work with the tables in the schema {schema}.
--
-- Who runs this: the owner of the tables, after `simpleworkflow migrate`, and again after a migration
-- that brings new tables or columns. It adds rights and takes none away, so it may be run as often as
-- you like. Roles that do not exist are created, which takes a role that may do so. They have no
-- password yet.
begin;
{roles}
commit;
