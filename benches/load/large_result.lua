-- One statement with 100,000 rows per event.

function thread_init()
  connection = sysbench.sql.driver():connect()
end

function event()
  connection:query("SELECT id, k, c, pad FROM big"):free()
end

function thread_done()
  connection:disconnect()
end
