import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ProblemError } from './problem.ts';
import { routeSchema } from './route-schema.ts';

/** Where the build puts it, seen from the sources as from what is built of them. */
const BUILT = fileURLToPath(new URL('../../dist/page/', import.meta.url));
const INDEX = 'index.html';
/** Which encoding each file was made in, at the build; the best first. */
const ENCODINGS = [
  ['br', '.br'],
  ['gzip', '.gz'],
] as const;
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
};

const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  vary: 'accept-encoding',
};

interface PageFile {
  readonly type: string;
  readonly etag: string;
  readonly plain: Buffer;
  readonly encoded: ReadonlyMap<string, Buffer>;
}

/**
 * The status page: files that hold no data, and so are open to all. Their names, but that of the first, change with what
 * is in them, and a browser keeps them for good.
 * @param dir where they were built; they are read at the first call
 */
export function addPageRoutes(app: FastifyInstance, dir: string = BUILT): void {
  let files: ReadonlyMap<string, PageFile> | null = null;
  const send = (request: FastifyRequest, reply: FastifyReply, name: string): FastifyReply => {
    files ??= readPage(dir);
    const file = files.get(name);
    if (file === undefined)
      throw new ProblemError(
        404,
        files.size === 0 ? 'The status page is not built: npm run build.' : `There is nothing at ${request.url}.`,
      );
    reply
      .headers(HEADERS)
      .header('etag', file.etag)
      .header('cache-control', name === INDEX ? 'no-cache' : 'public, max-age=31536000, immutable');
    if (request.headers['if-none-match']?.includes(file.etag) === true) return reply.code(304).send();
    const accepted = request.headers['accept-encoding'] ?? '';
    const encoding = [...file.encoded.keys()].find((each) =>
      new RegExp(`\\b${each}\\b(?!;q=0(?:[,\\s]|$))`).test(accepted),
    );
    if (encoding !== undefined) reply.header('content-encoding', encoding);
    return reply.type(file.type).send(encoding === undefined ? file.plain : file.encoded.get(encoding));
  };

  const page = routeSchema({
    tag: 'health',
    summary: 'The status page, for a browser',
    answer: [
      200,
      'The page. It holds no data: it asks for that itself, with a token where one is needed.',
      'text/html',
    ],
    problems: [404],
    open: true,
  });
  app.get('/', { schema: page }, (request, reply) => send(request, reply, INDEX));
  app.get<{ Params: { file: string } }>('/page/:file', { schema: { hide: true } }, (request, reply) =>
    send(request, reply, request.params.file),
  );
}

function readPage(dir: string): Map<string, PageFile> {
  const names = existsSync(dir) ? readdirSync(dir) : [];
  return new Map(
    names
      .filter((name) => extname(name) in TYPES)
      .map((name) => {
        const plain = readFileSync(join(dir, name));
        const encoded = ENCODINGS.filter(([, suffix]) => names.includes(name + suffix)).map(
          ([encoding, suffix]): [string, Buffer] => [encoding, readFileSync(join(dir, name + suffix))],
        );
        const etag = `W/"${createHash('sha256').update(plain).digest('base64url').slice(0, 22)}"`;
        return [name, { type: TYPES[extname(name)]!, etag, plain, encoded: new Map(encoded) }];
      }),
  );
}
