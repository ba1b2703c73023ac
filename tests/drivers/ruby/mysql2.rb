# The checklist by mysql2, which is libmariadb or libmysqlclient below.

require "bigdecimal"
require "date"
require "digest"
require "json"
require "mysql2"

# The driver has no means for a step.
class Unsupported < StandardError; end

GIVEN = ARGV.to_h { |argument| argument[2..].split("=", 2) }

class Driver
  def initialize
    @open = {}
  end

  def login(user: GIVEN["user"], password: GIVEN["password"], database: GIVEN["database"], tls: false, charset: "utf8mb4",
            init: nil, found_rows: false, multi: false, compress: false, local_infile: false, attributes: nil, autocommit: nil,
            collation: nil)
    raise Unsupported, "compress" if compress
    raise Unsupported, "collation" if collation
    options = {host: GIVEN["host"], port: GIVEN["port"].to_i, username: user, password: password, database: database,
               connect_timeout: 20, encoding: charset, reconnect: false, database_timezone: :utc, local_infile: local_infile}
    options[:init_command] = init if init
    options[:connect_attrs] = attributes if attributes
    options[:flags] = [found_rows ? "FOUND_ROWS" : "-FOUND_ROWS", multi ? "MULTI_STATEMENTS" : "-MULTI_STATEMENTS"]
    options.merge!(ssl_mode: :required, sslverify: false) if tls
    client = Mysql2::Client.new(options)
    client.query("SET autocommit = 0") if autocommit == false
    client
  end

  def fault(error)
    return [error.class.name, error.error_number, error.sql_state, error.message] if error.is_a?(Mysql2::Error)
    [error.class.name, error.message]
  end

  def caught
    yield
  rescue Mysql2::Error, ArgumentError, RangeError => error
    {error: fault(error)}
  end

  # A value with its type as the driver gave it.
  def value(found)
    return nil if found.nil?
    text = case found
           when Time then found.utc.strftime("%Y-%m-%d %H:%M:%S.%6N")
           when BigDecimal then found.to_s("F")
           when String then found.encoding == Encoding::BINARY ? found.unpack1("H*") : found
           else found.to_s
           end
    text = text.unpack1("H*") unless text.valid_encoding?
    text = "#{text.length}:#{Digest::MD5.hexdigest(text)}" if text.length > 100
    "#{found.class}:#{text}"
  end

  def parameter(given)
    return given unless given.is_a?(Hash)
    kind, text = given.first
    case kind
    when "unsigned" then text.to_i
    when "decimal" then BigDecimal(text)
    when "bytes" then [text].pack("H*")
    when "date" then Date.parse(text)
    when "datetime" then Time.utc(*text.scan(/\d+/).first(6).map(&:to_i), text[/\.(\d+)/, 1].to_i)
    end
  end

  def result(client, found)
    if found.nil?
      return {affected: client.affected_rows, insert_id: client.last_id, info: client.query_info_string,
              warnings: client.warning_count}
    end
    rows = found.each(as: :array, cast_booleans: false).map { |row| row.map { |cell| value(cell) } }
    {columns: found.fields.zip(found.respond_to?(:field_types) ? found.field_types : []), rows: rows,
     warnings: client.warning_count}
  end

  def step_connect(_, wanted)
    wanted = wanted.transform_keys(&:to_sym)
    name = wanted.delete(:as) || "main"
    @open.delete(name)&.close
    @open[name] = login(**wanted)
    {ok: true}
  end

  def step_close(_, name)
    @open.delete(name).close
    {ok: true}
  end

  def step_query(client, sql)
    result(client, client.query(sql))
  end

  def step_prepared(client, given)
    begin
      statement = client.prepare(given["sql"])
    rescue Mysql2::Error => error
      return {prepare: fault(error)}
    end
    runs = given["with"].each_with_index.map do |row, number|
      client.query(given["between"]) if number == 1 && given["between"]
      caught { executed(statement, row) }
    end
    statement.close
    {runs: runs}
  end

  def executed(statement, row)
    found = statement.execute(*row.map { |cell| parameter(cell) }, as: :array)
    return {affected: statement.affected_rows, insert_id: statement.last_id} if found.nil?
    {columns: found.fields, rows: found.map { |cells| cells.map { |cell| value(cell) } }}
  end

  def step_prepared_many(client, given)
    digest = Digest::MD5.new
    kept = (0...given["count"]).map do |number|
      statement = client.prepare(given["sql"].gsub("{number}", number.to_s))
      digest << executed(statement, given["with"]).to_json
      statement
    end
    kept.each(&:close)
    {digest: digest.hexdigest}
  end

  def step_multi(client, sql)
    results = []
    begin
      results << result(client, client.query(sql))
      results << result(client, client.store_result) while client.next_result
    rescue Mysql2::Error => error
      results << {error: fault(error)}
    end
    {results: results}
  end

  def step_ping(client, _)
    {alive: client.ping}
  end

  def step_use(client, database)
    client.select_db(database)
    {ok: true}
  end

  def step_identity(client, _)
    {equal: client.query("SELECT CONNECTION_ID() AS id").first["id"] == client.thread_id}
  end

  def step_warnings(client, _)
    {warnings: client.warning_count}
  end

  # The driver leaves transactions to statements.
  {begin: "BEGIN", commit: "COMMIT", rollback: "ROLLBACK"}.each do |op, sql|
    define_method("step_#{op}") { |client, _| step_query(client, sql) }
  end

  def step_stream(client, given)
    found = client.query(given["sql"], stream: true, cache_rows: false, as: :array)
    rows = []
    found.each do |row|
      rows << row.map { |cell| value(cell) }
      break if rows.length == given["take"]
    end
    found.free if given["take"]
    client.close if given["close"]
    {rows: rows}
  end

  def step_infile(client, given)
    step_query(client, given["sql"])
  end

  def step_kill(client, given)
    killer, done = login, false
    # The statement may not have begun when the first KILL arrives, so it is said again.
    killing = Thread.new do
      until done
        sleep 0.05
        killer.query("KILL QUERY #{client.thread_id}")
      end
    end
    caught { step_query(client, given["sql"]) }
  ensure
    done = true
    killing&.join
    killer&.close
  end

  def step_terminate(_, name)
    killer = login
    killer.query("KILL #{@open[name].thread_id}")
    killer.close
    {lost: caught { step_query(@open[name], "SELECT 1") }.key?(:error)}
  end

  def step_timeout(_, given)
    hasty = Mysql2::Client.new(host: GIVEN["host"], port: GIVEN["port"].to_i, username: GIVEN["user"],
                               password: GIVEN["password"], read_timeout: given["seconds"])
    caught { step_query(hasty, given["sql"]) }
  end

  def step(step)
    method = "step_#{step["op"]}"
    raise Unsupported, step["op"] unless respond_to?(method)
    return send(method, nil, step["arg"]) if %w[connect close terminate].include?(step["op"])
    client = @open[step["by"]] ||= login
    send(method, client, step["arg"])
  end

  def behave(behaviour)
    steps = behaviour["steps"].map { |one| caught { step(one) } }
    puts({id: behaviour["id"], steps: steps}.to_json)
  rescue Unsupported => error
    puts({id: behaviour["id"], unsupported: error.message}.to_json)
  ensure
    @open.each_value(&:close)
    @open.clear
  end

  def run
    janitor = login
    JSON.parse(File.read(GIVEN["checklist"], encoding: "UTF-8")).each do |behaviour|
      behaviour["given"].each { |sql| janitor.query(sql) }
      behave(behaviour)
    end
    janitor.close
  end
end

$stdout.sync = true
Driver.new.run
