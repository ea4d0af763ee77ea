// The baseline of GET /devices/:id: Express + pg + jsonwebtoken, as one would write it with care.
//
// Environment: PORT, BENCH_KEY_FILE (the HS256 key), DATABASE_URL. One process; the statement is named, so
// that pg prepares it once per connection.
'use strict';

const fs = require('node:fs');
const express = require('express');
const jwt = require('jsonwebtoken');
const { Pool } = require('pg');

const key = fs.readFileSync(process.env.BENCH_KEY_FILE);
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const largestId = 2 ** 31 - 1;

function problem(res, status, title) {
  res.status(status).type('application/problem+json').send({ type: 'about:blank', title, status });
}

function authenticate(req, res, next) {
  const [scheme, token] = (req.get('authorization') ?? '').split(' ');
  try {
    if (scheme !== 'Bearer') throw new jwt.JsonWebTokenError('no bearer token');
    req.claims = jwt.verify(token, key, { algorithms: ['HS256'], issuer: 'otad', audience: 'otad' });
  } catch {
    res.set('WWW-Authenticate', 'Bearer');
    return problem(res, 401, 'Unauthorized');
  }
  next();
}

async function getDevice(req, res) {
  const id = Number(req.params.id);
  if (!Number.isInteger(id) || id < 1 || id > largestId) return problem(res, 404, 'Not Found');
  const { rows } = await pool.query({
    name: 'device',
    text: `select id, device_code, name, chip, chip_reported, tags, status, firmware_version, elf_sha256, last_seen, created_at,
                  user_id from devices where id = $1 and (user_id = $2 or $3)`,
    values: [id, Number(req.claims.sub), req.claims.role === 'operator'],
  });
  if (rows.length === 0) return problem(res, 404, 'Not Found');
  res.json(rows[0]);
}

const app = express();
app.disable('x-powered-by');
app.disable('etag');
app.get('/devices/:id', authenticate, getDevice);
app.use((req, res) => problem(res, 404, 'Not Found'));
app.use((err, req, res, next) => {
  console.error(err);
  problem(res, 500, 'Internal Server Error');
});
app.listen(Number(process.env.PORT), '127.0.0.1');
