// The checklist by mysql2, by its promises.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const mysql = require('mysql2/promise');
const { argumentsGiven, behaviours, said, value, parameter } = require('./checklist');

const given = argumentsGiven();
const open = new Map();

class Unsupported extends Error {}

function fault(error) {
  return { error: [error.code, error.errno, error.sqlState, error.sqlMessage || error.message] };
}

async function caught(action) {
  try {
    return await action();
  } catch (error) {
    if (error instanceof Unsupported || error instanceof ReferenceError) throw error;
    return fault(error);
  }
}

function options({ user, password, database, tls, charset, init, found_rows, compress, local_infile, multi, attributes,
  autocommit, collation } = {}) {
  if (init) throw new Unsupported('init');
  if (charset === 'latin1') charset = 'latin1_swedish_ci';
  // By default the driver asks for utf8mb4_unicode_ci, which is the behaviour `connect.collation`.
  charset = collation || (charset === 'latin1_swedish_ci' ? charset : 'utf8mb4_general_ci');
  const wanted = {
    host: given.host,
    port: given.port,
    user: user || given.user,
    password: password === undefined ? given.password : password,
    database: database === undefined ? given.database : database || undefined,
    connectTimeout: 20000,
    timezone: 'Z',
    supportBigNumbers: true,
    flags: found_rows ? ['FOUND_ROWS'] : ['-FOUND_ROWS'],
    multipleStatements: Boolean(multi),
    compress: Boolean(compress),
  };
  wanted.charset = charset.toUpperCase();
  if (tls) wanted.ssl = { rejectUnauthorized: false };
  if (attributes) wanted.connectAttributes = attributes;
  if (local_infile) wanted.infileStreamFactory = (path) => fs.createReadStream(path);
  return { wanted, autocommit };
}

async function login(asked) {
  const { wanted, autocommit } = options(asked);
  const connection = await mysql.createConnection(wanted);
  // A connection that ends without a statement tells it by an event.
  connection.on('error', () => {});
  if (autocommit === false) await connection.query('SET autocommit = 0');
  return connection;
}

function columns(fields) {
  return fields.map((field) => [field.name, field.columnType, field.flags, field.columnLength, field.decimals,
    field.characterSet, field.table, field.orgTable, field.orgName]);
}

function result([found, fields]) {
  if (!fields) {
    return { affected: found.affectedRows, changed: found.changedRows, insert_id: found.insertId, info: found.info,
      warnings: found.warningStatus, status: found.serverStatus };
  }
  return { columns: columns(fields), rows: found.map((row) => row.map(value)) };
}

function results([found, fields]) {
  if (!Array.isArray(fields) || (fields.length > 0 && !fields.some((field) => Array.isArray(field) || !field))) {
    return [result([found, fields])];
  }
  return found.map((one, number) => result([one, fields[number]]));
}

function text(sql) {
  return { sql, rowsAsArray: true };
}

async function kill(statement, running) {
  const killer = await login();
  let done = false;
  // The statement may not have begun when the first KILL arrives, so it is said again.
  const killing = (async () => {
    while (!done) {
      await killer.query(statement);
      await new Promise((wake) => setTimeout(wake, 50));
    }
  })();
  const ended = await caught(running);
  done = true;
  await killing;
  killer.destroy();
  return ended;
}

async function prepared(connection, { sql, with: rows, between }) {
  const statement = await caught(() => connection.prepare(sql));
  const runs = [];
  if (statement.error) return { prepare: statement };
  for (const [number, row] of rows.entries()) {
    if (number === 1 && between) await connection.query(between);
    runs.push(await caught(async () => {
      // The statement of the promises keeps no option about the form of rows.
      const answer = await new Promise((resolve, reject) => {
        const execute = statement.statement.execute(row.map(parameter), (error, found, fields) =>
          (error ? reject(error) : resolve([found, fields])));
        return execute;
      });
      const [found, fields] = answer;
      if (!fields) return result(answer);
      return { columns: columns(fields), rows: found.map((one) => Object.values(one).map(value)) };
    }));
  }
  connection.unprepare(sql);
  return { runs };
}

function stream(connection, { sql, take, close }) {
  return new Promise((resolve, reject) => {
    const rows = [];
    const query = connection.connection.query(text(sql));
    let ended = false;
    query.on('error', (error) => (ended ? undefined : reject(error)));
    query.on('result', (row) => {
      if (rows.length !== take) rows.push(row.map(value));
      if (rows.length === take && close && !ended) {
        ended = true;
        connection.destroy();
        resolve({ rows });
      }
    });
    query.on('end', () => resolve({ rows }));
  });
}

const steps = {
  async connect(_, asked) {
    const { as = 'main', ...more } = asked;
    if (open.has(as)) open.get(as).destroy();
    open.delete(as);
    open.set(as, await login(more));
    return { ok: true };
  },
  async close(_, name) {
    await open.get(name).end();
    open.delete(name);
    return { ok: true };
  },
  async query(connection, sql) {
    return result(await connection.query(text(sql)));
  },
  prepared,
  async prepared_many(connection, { sql, count, with: row }) {
    const digest = crypto.createHash('md5');
    for (let number = 0; number < count; number += 1) {
      const [found] = await connection.execute(sql.replace('{number}', number), row);
      digest.update(JSON.stringify(found));
    }
    return { digest: digest.digest('hex') };
  },
  async multi(connection, sql) {
    return { results: results(await connection.query(text(sql))) };
  },
  async begin(connection) {
    await connection.beginTransaction();
    return { ok: true };
  },
  async commit(connection) {
    await connection.commit();
    return { ok: true };
  },
  async rollback(connection) {
    await connection.rollback();
    return { ok: true };
  },
  async ping(connection) {
    await connection.ping();
    return { ok: true };
  },
  async identity(connection) {
    const [[row]] = await connection.query('SELECT CONNECTION_ID() AS id');
    return { equal: row.id === connection.threadId };
  },
  async use(connection, database) {
    return steps.change_user(connection, { database });
  },
  async change_user(connection, { user, password, database }) {
    await connection.changeUser({
      user: user || given.user,
      password: password || given.password,
      database: database || given.database,
    });
    return { ok: true };
  },
  async reset(connection) {
    if (!connection.connection.reset) throw new Unsupported('reset');
    await new Promise((resolve, reject) => {
      connection.connection.reset((error) => (error ? reject(error) : resolve()));
    });
    return { ok: true };
  },
  stream,
  async infile(connection, { sql }) {
    const file = /INFILE '([^']*)'/.exec(sql)[1];
    return result(await connection.query({ sql, infileStreamFactory: () => fs.createReadStream(file) }));
  },
  async kill(connection, { sql }) {
    return kill(`KILL QUERY ${connection.threadId}`, () => steps.query(connection, sql));
  },
  async terminate(_, name) {
    const killer = await login();
    await killer.query(`KILL ${open.get(name).threadId}`);
    killer.destroy();
    return { lost: Boolean((await caught(() => steps.query(open.get(name), 'SELECT 1'))).error) };
  },
  async timeout(connection, { sql, seconds }) {
    const started = await caught(() => connection.query({ sql, timeout: seconds * 1000 }));
    connection.destroy();
    return started;
  },
  async pool(_, wanted) {
    const pool = mysql.createPool({ ...options().wanted, connectionLimit: 1 });
    const found = [];
    for (const { query } of wanted) found.push(await caught(async () => result(await pool.query(text(query)))));
    await pool.end();
    return { results: found };
  },
};

async function step({ op, by, arg }) {
  const action = steps[op];
  if (!action) throw new Unsupported(op);
  if (['connect', 'close', 'terminate', 'pool'].includes(op)) return action(null, arg || {});
  if (!open.has(by)) open.set(by, await login());
  return action(open.get(by), arg);
}

async function behave(behaviour) {
  const found = [];
  try {
    for (const one of behaviour.steps) found.push(await caught(() => step(one)));
    said(behaviour.id, { steps: found });
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    said(behaviour.id, { unsupported: error.message });
  }
  for (const connection of open.values()) connection.destroy();
  open.clear();
}

async function main() {
  const janitor = await login();
  for (const behaviour of behaviours(given)) {
    for (const sql of behaviour.given) await janitor.query(sql);
    await behave(behaviour);
  }
  janitor.destroy();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
