// What the Node programs share: arguments, the form of values, the lines they print.
'use strict';

const crypto = require('crypto');
const fs = require('fs');

function argumentsGiven() {
  const given = {};
  for (const argument of process.argv.slice(2)) {
    const [, name, value] = /^--([a-z]+)=(.*)$/s.exec(argument);
    given[name] = value;
  }
  given.port = Number(given.port);
  return given;
}

function behaviours(given) {
  return JSON.parse(fs.readFileSync(given.checklist, 'utf8'));
}

function said(id, more) {
  process.stdout.write(JSON.stringify({ id, ...more }) + '\n');
}

// A value with its type as the driver gave it.
function value(found) {
  if (found === null || found === undefined) return null;
  let kind = typeof found;
  let text;
  if (Buffer.isBuffer(found)) {
    [kind, text] = ['Buffer', found.toString('hex')];
  } else if (found instanceof Date) {
    [kind, text] = ['Date', Number.isNaN(found.getTime()) ? 'invalid' : found.toISOString()];
  } else if (kind === 'object') {
    text = JSON.stringify(found);
  } else {
    text = Object.is(found, -0) ? '-0' : String(found);
  }
  if (text.length > 100) text = `${text.length}:${crypto.createHash('md5').update(text).digest('hex')}`;
  return `${kind}:${text}`;
}

function parameter(given) {
  if (given === null || typeof given !== 'object') return given;
  const [[kind, text]] = Object.entries(given);
  switch (kind) {
    case 'bytes': return Buffer.from(text, 'hex');
    case 'datetime': return new Date(text.replace(' ', 'T') + 'Z');
    default: return text;
  }
}

module.exports = { argumentsGiven, behaviours, said, value, parameter };
