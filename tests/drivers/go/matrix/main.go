// The checklist by go-sql-driver/mysql below database/sql; ../README.md says what the steps mean.
package main

import (
	"bufio"
	"context"
	"crypto/md5"
	"crypto/tls"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"
)

type behaviour struct {
	ID    string
	Given []string
	Steps []step
}

type step struct {
	Op  string
	By  string
	Arg json.RawMessage
}

// What a step gave, as JSON.
type answer = map[string]any

// A step for which the driver has no means.
type unsupported string

func (name unsupported) Error() string { return string(name) }

var ok = answer{"ok": true}

var (
	host, user, password, database, checklist, variant string
	port                                               int
)

// A connection that is kept: database/sql would take any of its pool.
type connection struct {
	pool *sql.DB
	*sql.Conn
	tx *sql.Tx
}

var open = map[string]*connection{}

func (c *connection) leave() {
	if c.tx != nil {
		c.tx.Rollback()
	}
	c.Conn.Close()
	c.pool.Close()
}

// What runs statements: the transaction, while there is one.
func (c *connection) runner() runner {
	if c.tx != nil {
		return c.tx
	}
	return c.Conn
}

type runner interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	PrepareContext(context.Context, string) (*sql.Stmt, error)
}

type options struct {
	As          string
	User        *string
	Password    *string
	Database    json.RawMessage
	TLS         bool
	Charset     string
	Collation   string
	Init        *string
	FoundRows   bool `json:"found_rows"`
	Compress    bool
	LocalInfile bool `json:"local_infile"`
	Multi       bool
	Attributes  map[string]string
	Autocommit  *bool
}

func (wanted options) config() (*mysql.Config, error) {
	if wanted.Init != nil {
		return nil, unsupported("init")
	}
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", net.JoinHostPort(host, fmt.Sprint(port))
	config.User, config.Passwd, config.DBName = user, password, database
	config.Timeout = 20 * time.Second
	config.MultiStatements = wanted.Multi
	config.ClientFoundRows = wanted.FoundRows
	config.InterpolateParams = variant == "interpolate"
	config.Logger = log.New(io.Discard, "", 0)
	config.ParseTime = true
	if wanted.User != nil {
		config.User = *wanted.User
	}
	if wanted.Password != nil {
		config.Passwd = *wanted.Password
	}
	if wanted.Database != nil {
		config.DBName = ""
		decode(wanted.Database, &config.DBName)
	}
	if wanted.TLS {
		config.TLS = &tls.Config{InsecureSkipVerify: true}
	}
	if wanted.Compress {
		config.Apply(mysql.EnableCompression(true))
	}
	if wanted.Charset != "" {
		config.Apply(mysql.Charset(wanted.Charset, wanted.Collation))
	}
	if wanted.Attributes != nil {
		var pairs []string
		for key, value := range wanted.Attributes {
			pairs = append(pairs, key+":"+value)
		}
		config.ConnectionAttributes = strings.Join(pairs, ",")
	}
	if wanted.Autocommit != nil {
		config.Params = map[string]string{"autocommit": map[bool]string{true: "1", false: "0"}[*wanted.Autocommit]}
	}
	return config, nil
}

func login(wanted options) (*connection, error) {
	config, err := wanted.config()
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	taken, err := pool.Conn(context.Background())
	if err != nil {
		pool.Close()
		return nil, err
	}
	return &connection{pool: pool, Conn: taken}, nil
}

func fault(err error) answer {
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		return answer{"error": []any{server.Number, string(server.SQLState[:]), server.Message}}
	}
	return answer{"error": []any{fmt.Sprintf("%T", err), err.Error()}}
}

// An answer or the error, unless the driver lacks the means.
func caught(found answer, err error) (answer, error) {
	var lacking unsupported
	if errors.As(err, &lacking) {
		return nil, err
	}
	if err != nil {
		return fault(err), nil
	}
	return found, nil
}

// A value with its type as the driver gave it.
func value(found any) any {
	if found == nil {
		return nil
	}
	var text string
	switch found := found.(type) {
	case []byte:
		text = string(found)
		if !utf8.Valid(found) {
			text = hex.EncodeToString(found)
		}
	case time.Time:
		text = found.UTC().Format(time.RFC3339Nano)
	default:
		text = fmt.Sprint(found)
	}
	if len(text) > 100 {
		text = fmt.Sprintf("%d:%x", len(text), md5.Sum([]byte(text)))
	}
	return fmt.Sprintf("%T:%s", found, text)
}

func parameter(given any) any {
	switch given := given.(type) {
	case json.Number:
		if whole, err := given.Int64(); err == nil {
			return whole
		}
		number, _ := given.Float64()
		return number
	case map[string]any:
		for kind, content := range given {
			text := content.(string)
			switch kind {
			case "unsigned":
				number, _ := new(big.Int).SetString(text, 10)
				return number.Uint64()
			case "bytes":
				bytes, _ := hex.DecodeString(text)
				return bytes
			case "date":
				day, _ := time.Parse(time.DateOnly, text)
				return day
			case "datetime":
				moment, _ := time.Parse(time.DateTime, text)
				return moment
			default:
				return text
			}
		}
	}
	return given
}

func parameters(given []any) []any {
	row := make([]any, len(given))
	for at, cell := range given {
		row[at] = parameter(cell)
	}
	return row
}

func columns(rows *sql.Rows) ([]any, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, column := range types {
		nullable, _ := column.Nullable()
		precision, scale, _ := column.DecimalSize()
		list = append(list, []any{column.Name(), column.DatabaseTypeName(), column.ScanType().String(), nullable, precision, scale})
	}
	return list, nil
}

func read(rows *sql.Rows, take int) (answer, error) {
	list, err := columns(rows)
	if err != nil {
		return nil, err
	}
	found := []any{}
	for len(found) != take && rows.Next() {
		cells := make([]any, len(list))
		places := make([]any, len(list))
		for at := range cells {
			places[at] = &cells[at]
		}
		if err := rows.Scan(places...); err != nil {
			return nil, err
		}
		for at := range cells {
			cells[at] = value(cells[at])
		}
		found = append(found, cells)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return answer{"columns": list, "rows": found}, nil
}

// Whether a statement gives rows: database/sql wants to know before.
func gives(text string) bool {
	text = strings.TrimLeft(text, " (")
	for strings.HasPrefix(text, "/*") {
		_, text, _ = strings.Cut(text, "*/")
		text = strings.TrimLeft(text, " (")
	}
	verb, _, _ := strings.Cut(strings.ToUpper(text), " ")
	switch verb {
	case "SELECT", "SHOW", "DESCRIBE", "EXPLAIN", "WITH", "CALL", "EXECUTE", "SELEC":
		return !strings.Contains(text, " INTO @")
	}
	return false
}

func changed(result sql.Result, err error) (answer, error) {
	if err != nil {
		return nil, err
	}
	affected, _ := result.RowsAffected()
	id, _ := result.LastInsertId()
	return answer{"affected": affected, "insert_id": id}, nil
}

func query(c *connection, text string, row ...any) (answer, error) {
	if !gives(text) {
		return changed(c.runner().ExecContext(context.Background(), text, row...))
	}
	rows, err := c.runner().QueryContext(context.Background(), text, row...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return read(rows, -1)
}

func multi(c *connection, text string) (answer, error) {
	rows, err := c.runner().QueryContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	results := []any{}
	for {
		found, err := read(rows, -1)
		if err != nil {
			results = append(results, fault(err))
			break
		}
		results = append(results, found)
		if !rows.NextResultSet() {
			if rows.Err() != nil {
				results = append(results, fault(rows.Err()))
			}
			break
		}
	}
	return answer{"results": results}, nil
}

type prepared struct {
	SQL     string
	With    [][]any
	Between string
}

func executed(c *connection, given prepared) (answer, error) {
	statement, err := c.runner().PrepareContext(context.Background(), given.SQL)
	if err != nil {
		return answer{"prepare": fault(err)}, nil
	}
	defer statement.Close()
	runs := []any{}
	for number, row := range given.With {
		if number == 1 && given.Between != "" {
			if _, err := query(c, given.Between); err != nil {
				return nil, err
			}
		}
		run, err := caught(runPrepared(statement, given.SQL, parameters(row)))
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return answer{"runs": runs}, nil
}

// Without a statement of its own: with parameters in the call the driver prepares by itself, or writes them into the
// text when it was told to.
func direct(c *connection, given prepared) (answer, error) {
	runs := []any{}
	for number, row := range given.With {
		if number == 1 && given.Between != "" {
			if _, err := query(c, given.Between); err != nil {
				return nil, err
			}
		}
		run, err := caught(query(c, given.SQL, parameters(row)...))
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
	}
	return answer{"runs": runs}, nil
}

func runPrepared(statement *sql.Stmt, text string, row []any) (answer, error) {
	if !gives(text) {
		return changed(statement.Exec(row...))
	}
	rows, err := statement.Query(row...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return read(rows, -1)
}

func thread(c *connection) (id int64, err error) {
	err = c.runner().(interface {
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}).QueryRowContext(context.Background(), "SELECT CONNECTION_ID()").Scan(&id)
	return id, err
}

func kill(c *connection, text string) (answer, error) {
	id, err := thread(c)
	if err != nil {
		return nil, err
	}
	killer, err := login(options{})
	if err != nil {
		return nil, err
	}
	defer killer.leave()
	done, ended := make(chan struct{}), make(chan struct{})
	// The statement may not have begun when the first KILL arrives, so it is said again.
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				query(killer, fmt.Sprintf("KILL QUERY %d", id))
			}
		}
	}()
	found, err := caught(query(c, text))
	close(done)
	<-ended
	return found, err
}

func terminate(name string) (answer, error) {
	id, err := thread(open[name])
	if err != nil {
		return nil, err
	}
	killer, err := login(options{})
	if err != nil {
		return nil, err
	}
	defer killer.leave()
	if _, err := query(killer, fmt.Sprintf("KILL %d", id)); err != nil {
		return nil, err
	}
	_, err = query(open[name], "SELECT 1")
	return answer{"lost": err != nil}, nil
}

func stream(c *connection, raw json.RawMessage) (answer, error) {
	var given struct {
		SQL   string
		Take  int
		Close bool
	}
	decode(raw, &given)
	if given.Take == 0 {
		given.Take = -1
	}
	rows, err := c.runner().QueryContext(context.Background(), given.SQL)
	if err != nil {
		return nil, err
	}
	found, err := read(rows, given.Take)
	if given.Close {
		c.Conn.Raw(func(any) error { return io.ErrUnexpectedEOF })
	}
	rows.Close()
	return found, err
}

func limited(c *connection, raw json.RawMessage) (answer, error) {
	var given struct {
		SQL     string
		Seconds int
	}
	decode(raw, &given)
	until, cancel := context.WithTimeout(context.Background(), time.Duration(given.Seconds)*time.Second)
	defer cancel()
	rows, err := c.runner().QueryContext(until, given.SQL)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return read(rows, -1)
}

func pool(raw json.RawMessage) (answer, error) {
	var queries []struct{ Query string }
	decode(raw, &queries)
	config, err := options{}.config()
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	results := []any{}
	for _, one := range queries {
		rows, err := pool.Query(one.Query)
		if err != nil {
			results = append(results, fault(err))
			continue
		}
		found, err := read(rows, -1)
		rows.Close()
		if err != nil {
			found = fault(err)
		}
		results = append(results, found)
	}
	return answer{"results": results}, nil
}

func connect(raw json.RawMessage) (answer, error) {
	var wanted options
	decode(raw, &wanted)
	if wanted.As == "" {
		wanted.As = "main"
	}
	if old := open[wanted.As]; old != nil {
		old.leave()
		delete(open, wanted.As)
	}
	c, err := login(wanted)
	if err != nil {
		return nil, err
	}
	open[wanted.As] = c
	return ok, nil
}

func decode(raw json.RawMessage, into any) {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		log.Fatalf("%s: %v", raw, err)
	}
}

func text(raw json.RawMessage) (text string) {
	decode(raw, &text)
	return text
}

func take(one step) (answer, error) {
	switch one.Op {
	case "connect":
		return connect(one.Arg)
	case "terminate":
		return terminate(text(one.Arg))
	case "pool":
		return pool(one.Arg)
	case "close":
		open[text(one.Arg)].leave()
		delete(open, text(one.Arg))
		return ok, nil
	}
	if open[one.By] == nil {
		c, err := login(options{})
		if err != nil {
			return nil, err
		}
		open[one.By] = c
	}
	return takeOn(open[one.By], one)
}

func takeOn(c *connection, one step) (found answer, err error) {
	switch one.Op {
	case "query":
		return query(c, text(one.Arg))
	case "multi":
		return multi(c, text(one.Arg))
	case "prepared":
		var given prepared
		decode(one.Arg, &given)
		if variant == "interpolate" {
			return direct(c, given)
		}
		return executed(c, given)
	case "prepared_many":
		return preparedMany(c, one.Arg)
	case "begin":
		c.tx, err = c.BeginTx(context.Background(), nil)
		return ok, err
	case "commit", "rollback":
		return end(c, one.Op)
	case "ping":
		return ok, c.PingContext(context.Background())
	case "stream":
		return stream(c, one.Arg)
	case "infile":
		return infile(c, one.Arg)
	case "kill":
		var given struct{ SQL string }
		decode(one.Arg, &given)
		return kill(c, given.SQL)
	case "timeout":
		return limited(c, one.Arg)
	}
	return nil, unsupported(one.Op)
}

func end(c *connection, how string) (answer, error) {
	if c.tx == nil {
		return query(c, strings.ToUpper(how))
	}
	tx := c.tx
	c.tx = nil
	if how == "commit" {
		return ok, tx.Commit()
	}
	return ok, tx.Rollback()
}

func preparedMany(c *connection, raw json.RawMessage) (answer, error) {
	var given struct {
		SQL   string
		Count int
		With  []any
	}
	decode(raw, &given)
	digest := md5.New()
	for number := range given.Count {
		sql := strings.ReplaceAll(given.SQL, "{number}", fmt.Sprint(number))
		found, err := query(c, sql, parameters(given.With)...)
		if err != nil {
			return nil, err
		}
		line, _ := json.Marshal(found)
		digest.Write(line)
	}
	return answer{"digest": hex.EncodeToString(digest.Sum(nil))}, nil
}

func infile(c *connection, raw json.RawMessage) (answer, error) {
	var given struct{ SQL string }
	decode(raw, &given)
	mysql.RegisterLocalFile(strings.Split(given.SQL, "'")[1])
	return query(c, given.SQL)
}

func behave(out *bufio.Writer, one behaviour) {
	line := answer{"id": one.ID}
	steps := []any{}
	for _, step := range one.Steps {
		found, err := caught(take(step))
		if err != nil {
			line["unsupported"] = err.Error()
			break
		}
		steps = append(steps, found)
	}
	if line["unsupported"] == nil {
		line["steps"] = steps
	}
	said, err := json.Marshal(line)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(out, string(said))
	out.Flush()
	for name, c := range open {
		c.leave()
		delete(open, name)
	}
}

func main() {
	flag.StringVar(&host, "host", "", "")
	flag.IntVar(&port, "port", 0, "")
	flag.StringVar(&user, "user", "", "")
	flag.StringVar(&password, "password", "", "")
	flag.StringVar(&database, "database", "", "")
	flag.StringVar(&checklist, "checklist", "", "")
	flag.StringVar(&variant, "variant", "", "prepare or interpolate")
	flag.Parse()
	file, err := os.ReadFile(checklist)
	if err != nil {
		log.Fatal(err)
	}
	var behaviours []behaviour
	if err := json.Unmarshal(file, &behaviours); err != nil {
		log.Fatal(err)
	}
	janitor, err := login(options{})
	if err != nil {
		log.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	for _, one := range behaviours {
		for _, sql := range one.Given {
			if _, err := query(janitor, sql); err != nil {
				log.Fatalf("%s: %v", sql, err)
			}
		}
		behave(out, one)
	}
	janitor.leave()
}
