-- What time it is by the server.
select clock_timestamp()
