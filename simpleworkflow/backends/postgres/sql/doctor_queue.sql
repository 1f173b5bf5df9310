-- How full the server's queue of notifications is.
select pg_notification_queue_usage()
