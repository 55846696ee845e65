import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { brotliCompressSync, brotliDecompressSync, gzipSync } from 'node:zlib';
import { fastify, type FastifyInstance } from 'fastify';
import { addPageRoutes } from '../../../src/control/page-route.ts';
import { toProblem } from '../../../src/control/problem.ts';

function serving(dir: string): FastifyInstance {
  const app = fastify();
  app.setErrorHandler((error, _request, reply) => {
    const { problem } = toProblem(error);
    return reply.code(problem.status).send(problem);
  });
  addPageRoutes(app, dir);
  return app;
}

describe('the files of the status page', () => {
  const dir = mkdtempSync(join(tmpdir(), 'spoor-page-'));
  let app: FastifyInstance;
  before(() => {
    for (const [name, text] of [
      ['index.html', '<p>page</p>'],
      ['main-A1.js', 'run()'],
      ['main-A1.css', 'p{}'],
    ] as const) {
      writeFileSync(join(dir, name), text);
      writeFileSync(join(dir, `${name}.gz`), gzipSync(text));
      writeFileSync(join(dir, `${name}.br`), brotliCompressSync(text));
    }
    app = serving(dir);
  });
  after(async () => {
    await app.close();
    rmSync(dir, { recursive: true });
  });
  const get = (url: string, headers: Record<string, string> = {}) => app.inject({ method: 'GET', url, headers });

  it('come with a policy that lets nothing in from elsewhere, and no script or style within the page', async () => {
    const { statusCode, headers, body } = await get('/');
    assert.deepEqual([statusCode, body, headers['content-type']], [200, '<p>page</p>', 'text/html; charset=utf-8']);
    const policy = String(headers['content-security-policy']);
    assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';/);
    assert.doesNotMatch(policy, /unsafe|\*|http/);
    assert.deepEqual(
      [headers['x-content-type-options'], headers['referrer-policy'], headers['cache-control']],
      ['nosniff', 'no-referrer', 'no-cache'],
    );
  });

  it('come compressed as the browser takes them, and are kept by it under names that change with them', async () => {
    const br = await get('/page/main-A1.js', { 'accept-encoding': 'gzip, deflate, br' });
    assert.deepEqual([br.headers['content-encoding'], brotliDecompressSync(br.rawPayload).toString()], ['br', 'run()']);
    assert.match(String(br.headers['cache-control']), /immutable/);
    assert.equal((await get('/page/main-A1.css', { 'accept-encoding': 'gzip' })).headers['content-encoding'], 'gzip');
    assert.equal(
      (await get('/page/main-A1.css', { 'accept-encoding': 'br;q=0' })).headers['content-encoding'],
      undefined,
    );
  });

  it('are not sent again while they are the same', async () => {
    const { headers } = await get('/');
    const again = await get('/', { 'if-none-match': String(headers.etag) });
    assert.deepEqual([again.statusCode, again.body], [304, '']);
  });

  it('are those that were built, and no other file of the machine', async () => {
    for (const path of ['/page/other.js', '/page/..%2fsecret', '/page/main-A1.js.gz', '/page/constructor'])
      assert.equal((await get(path)).statusCode, 404, path);
  });

  it('are missing where nobody built them, with a word about that', async () => {
    const bare = serving(join(dir, 'nothing'));
    const { statusCode, body } = await bare.inject({ method: 'GET', url: '/' });
    assert.equal(statusCode, 404);
    assert.match(body, /npm run build/);
    await bare.close();
  });
});
