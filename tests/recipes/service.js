// Branches in JavaScript: every call of the coordinator takes effect once, actions and compensations alike.
//
//     node service.js PORT CONNECTION      e.g. node service.js 8000 postgresql://app@localhost/bank
//
// POST /account  {"account": "ada", "amount": -30}     the compensation has the same URL
const http = require("http");
const { Pool } = require("pg");

const [port, connectionString] = process.argv.slice(2);
const pool = new Pool({ connectionString });
pool.on("error", () => {});   // an idle connection broke; the pool opens another

async function account(call, order) {
  const amount = call.op === "action" ? order.amount : -order.amount;
  // One statement is one transaction: no BEGIN, no COMMIT.
  await pool.query("SELECT dtm_barrier_call($1, $2, $3, $4, 'SELECT move($1, $2)', $5, $6)",
    [call.trans_type, call.gid, call.branch_id, call.op, order.account, amount]);
}

async function answer(request) {
  let body = "";
  for await (const part of request) body += part;
  const url = new URL(request.url, "http://localhost");
  if (url.pathname !== "/account") return [404, "no such branch"];
  try {
    await account(Object.fromEntries(url.searchParams), JSON.parse(body));
    return [200, "SUCCESS"];
  } catch (error) {
    // Class 23: a constraint was violated. TDF00: refused. Everything else may succeed later.
    return [/^(23|TDF00)/.test(error.code) ? 409 : 500, error.message];
  }
}

http.createServer(async (request, response) => {
  const [status, text] = await answer(request);
  response.writeHead(status).end(text);
}).listen(Number(port), "127.0.0.1");
