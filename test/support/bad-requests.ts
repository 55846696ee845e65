import type { RawPiece } from './raw-http.ts';

/** What is sent, and what must come of it. */
export interface BadRequest {
  readonly what: string;
  readonly pieces: readonly RawPiece[];
  /** Statuses of which one must come; `cut`: the connection ends without an answer. */
  readonly expect: readonly (number | 'cut')[];
}

const JSON_TYPE = 'Content-Type: application/json';
const ORDERS = '{"name":"evil","tables":["shop.*"],"start":"now","sink":{"type":"kafka","topic":"t"}}';

/** A request whose headers are right but for those that are given. */
export function request(line: string, headers: readonly string[] = [], body: string | Buffer = ''): RawPiece[] {
  const host = headers.some((header) => /^host:/i.test(header)) ? [] : ['Host: 127.0.0.1'];
  return [[`${line} HTTP/1.1`, ...host, 'Connection: close', ...headers, '', ''].join('\r\n'), body];
}

function post(body: string | Buffer, headers: readonly string[] = [JSON_TYPE], line = 'POST /v1/streams'): RawPiece[] {
  return request(line, [`Content-Length: ${Buffer.byteLength(body)}`, ...headers], body);
}

/** To change the stream `orders` of a sidecar that asks for no token. */
const PAUSE = 'POST /v1/streams/orders/pause';
const from = (origin: string, host = '127.0.0.1'): RawPiece[] => request(PAUSE, [`Host: ${host}`, `Origin: ${origin}`]);
const get = (path: string, headers: readonly string[] = []): RawPiece[] => request(`GET ${path}`, headers);
const chunked = (chunks: string): RawPiece[] =>
  request('POST /v1/streams', ['Transfer-Encoding: chunked', JSON_TYPE], chunks);

type Row = readonly [what: string, pieces: readonly RawPiece[], ...expect: (number | 'cut')[]];

const TRAVERSAL: readonly Row[] = [
  ['dots', get('/../../etc/passwd'), 404],
  ['dots behind a route', get('/v1/streams/../../../etc/passwd'), 404],
  ['dots as escapes', get('/v1/streams/%2e%2e%2f%2e%2e%2fetc%2fpasswd'), 404],
  ['dots as escapes of escapes', get('/v1/streams/%252e%252e%252fetc'), 404],
  ['backslashes', get('/v1/streams/..%5c..%5cboot.ini'), 404],
  ['dots in the id of a tablet', get('/v1/local/tablets/%2e%2e%2f%2e%2e%2fetc/log?after=1.1'), 400],
  ['dots behind the id of a tablet', get('/v1/local/tablets/../../../../etc/passwd/log'), 404],
  ['a NUL', get('/v1/streams/orders%00.json'), 404],
  ['slashes', get('////etc/passwd'), 404],
  ['a file of the program', get('/package.json'), 404],
];

const SMUGGLING: readonly Row[] = [
  ['a length and chunks', request(PAUSE, ['Content-Length: 4', 'Transfer-Encoding: chunked'], '0\r\n\r\n'), 400],
  ['chunks and a length', request(PAUSE, ['Transfer-Encoding: chunked', 'Content-Length: 4'], '0\r\n\r\n'), 400],
  ['two lengths', request(PAUSE, ['Content-Length: 2', 'Content-Length: 4'], '{}'), 400],
  ['one length twice', request(PAUSE, ['Content-Length: 2', 'Content-Length: 2'], '{}'), 400],
  ['a list of lengths', request(PAUSE, ['Content-Length: 2, 2'], '{}'), 400],
  ['a length with a sign', request(PAUSE, ['Content-Length: +2'], '{}'), 400],
  ['a length below 0', request(PAUSE, ['Content-Length: -1']), 400],
  ['a length in hexadecimal digits', request(PAUSE, ['Content-Length: 0x2'], '{}'), 400],
  ['a length that no number holds', request(PAUSE, ['Content-Length: 99999999999999999999999']), 400],
  ['chunks of another name', request(PAUSE, ['Transfer-Encoding: xchunked'], '0\r\n\r\n'), 400],
  ['chunks and then nothing', request(PAUSE, ['Transfer-Encoding: chunked, identity'], '0\r\n\r\n'), 400],
  ['chunks twice', request(PAUSE, ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], '0\r\n\r\n'), 400],
  ['a chunk of no size', chunked('zz\r\n'), 400],
  ['a chunk beyond all sizes', chunked('FFFFFFFFFFFFFFFFF\r\n'), 400],
  ['a chunk longer than it says', chunked('1\r\n{}\r\n0\r\n\r\n'), 400],
  ['a folded header', request(PAUSE, ['X-Fold: a\r\n b']), 400],
  ['a blank before the colon', request(PAUSE, ['Content-Length : 0']), 400],
  ['a blank before the first header', [`${PAUSE} HTTP/1.1\r\n Host: 127.0.0.1\r\n\r\n`], 400],
  ['a CR alone', request(PAUSE, ['X-A: b\rContent-Length: 4']), 400],
  ['a NUL in a header', request(PAUSE, ['X-A: b\0c']), 400],
  ['a header without a name', request(PAUSE, [': b']), 400],
  ['a header without a colon', request(PAUSE, ['nothing']), 400],
  ['brackets in the name of a header', request(PAUSE, ['X(A): b']), 400],
  ['two hosts', request(PAUSE, ['Host: 127.0.0.1', 'Host: 127.0.0.1']), 400],
  ['two types', post(ORDERS, [JSON_TYPE, 'Content-Type: text/plain']), 400],
  ['no host', [`${PAUSE} HTTP/1.1\r\nConnection: close\r\n\r\n`], 400],
  ['more behind the version', [`${PAUSE} HTTP/1.1 x\r\nHost: 127.0.0.1\r\n\r\n`], 400],
];

const HUGE: readonly Row[] = [
  ['a header', get('/healthz', [`X-Long: ${'x'.repeat(20_000)}`]), 431],
  ['many headers', get('/healthz', Array<string>(5000).fill('X-Many: 1')), 431],
  ['a URL', get(`/v1/streams?${'x'.repeat(20_000)}`), 431],
  ['a name in a URL', get(`/v1/streams/${'x'.repeat(2000)}`), 414],
  ['a length', request('POST /v1/streams', ['Content-Length: 5000000000', JSON_TYPE]), 413],
  // Who still sends when the connection ends, as it was asked to, may not get the answer.
  ['a body', post(`"${'x'.repeat(2 << 20)}"`), 413, 'cut'],
  ['a body in chunks', chunked(`200000\r\n${'x'.repeat(0x200000)}\r\n0\r\n\r\n`), 413, 'cut'],
  ['what stands behind the size of a chunk', chunked(`1;${'x'.repeat(20_000)}\r\n`), 413],
  ['depth', post('['.repeat(5000) + ']'.repeat(5000)), 400],
  ['depth of objects', post('{"a":'.repeat(5000) + '1' + '}'.repeat(5000)), 400],
  ['a number', post(ORDERS.replace('}}', '},"copyRowsPerSecond":1e999}')), 400],
];

const TYPES: readonly Row[] = [
  ['XML', post('<a/>', ['Content-Type: text/xml']), 415],
  ['a form, as a page may send it', post(ORDERS, ['Content-Type: application/x-www-form-urlencoded']), 415],
  ['text, as a page may send it', post(ORDERS, ['Content-Type: text/plain']), 415],
  ['several parts, as a page may send them', post('--x--', ['Content-Type: multipart/form-data; boundary=x']), 415],
  ['no type at all', post(ORDERS, ['Content-Type: ;;;']), 415],
  ['compression', post(ORDERS, [JSON_TYPE, 'Content-Encoding: gzip']), 415],
  ['another character set', post(ORDERS, ['Content-Type: application/json; charset=utf-16']), 415],
  ['a list', post('[]'), 400],
  ['a text', post('"orders"'), 400],
  ['null', post('null'), 400],
  ['fields of other types', post('{"name":1,"tables":{},"sink":[]}'), 400],
  ['a field that there is not', post(ORDERS.replace('"start"', '"begin"')), 400],
  ['a change of another type', post('{"tables":7}', [JSON_TYPE], 'PATCH /v1/streams/orders'), 400],
  ['a pause of another type', post('{"paused":"yes"}', [JSON_TYPE], 'PATCH /v1/streams/orders'), 400],
  ['a dry run of another word', post(ORDERS, [JSON_TYPE], 'POST /v1/streams?dryRun=1'), 400],
  ['tablets that are none', post('{"tablets":"all"}', [JSON_TYPE], 'POST /v1/local/holds'), 400],
  ['a condition that is none', request('DELETE /v1/streams/orders', ['If-Match: 7']), 400],
  ['an expectation', request(PAUSE, ['Expect: a-miracle']), 417],
];

const MALFORMED: readonly Row[] = [
  ['half an object', post('{"name":'), 400],
  ['more behind it', post(`${ORDERS} {}`), 400],
  ['a comma too many', post('{"name":"a",}'), 400],
  ['NaN', post('{"name":NaN}'), 400],
  ['a NUL', post('{"name":"a\0"}'), 400],
  ['no UTF-8', post(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])), 400],
  ['UTF-8 that is cut short', post(Buffer.from([0x22, 0xe2, 0x82, 0x22])), 400],
  ['UTF-8 that is longer than it need be', post(Buffer.from([0x22, 0xc0, 0xaf, 0x22])), 400],
  ['half a pair', post(ORDERS.replace('"evil"', '"\\ud800"')), 400],
  ['UTF-16', post(Buffer.from(ORDERS, 'utf16le')), 400],
  ['a prototype', post(ORDERS.replace('"start"', '"__proto__":{"paused":false},"start"')), 400],
  ['a prototype further in', post(ORDERS.replace('"topic"', '"__proto__":{"x":1},"topic"')), 400],
  ['a prototype of a constructor', post('{"constructor":{"prototype":{"x":1}}}'), 400],
  ['a prototype in a change', post('{"sink":{"__proto__":{"x":1}}}', [JSON_TYPE], 'PATCH /v1/streams/orders'), 400],
  ['a prototype as a name', get('/v1/streams/__proto__'), 404],
  ['a constructor as a name', get('/v1/streams/constructor'), 404],
  ['a prototype in the query', get('/v1/local/tablets/0123456789abcdef0123456789abcdef/log?__proto__=1'), 400],
];

const ORIGINS: readonly Row[] = [
  ['a page', from('https://evil.example'), 403],
  ['no page that can be named', from('null'), 403],
  ['a page of this machine', from('http://127.0.0.1:1'), 403],
  ['a page by another name of it', from('http://localhost'), 403],
  ['a page whose name begins alike', from('http://127.0.0.1.evil.example'), 403],
  ['a page whose name leads here', from('http://evil.example', 'evil.example'), 403],
  ['a name that leads here', get('/v1/streams', ['Host: evil.example']), 403],
  ['a name that leads here, for metrics', get('/metrics', ['Host: evil.example:8100']), 403],
  ['a name that leads here, for reasons', get('/readyz', ['Host: evil.example']), 403],
  ['a name that ends in another', get('/v1/streams', ['Host: localhost.evil.example']), 403],
  ['an address in front of a name', get('/v1/streams', ['Host: 127.0.0.1.evil.example']), 403],
  ['every address', get('/v1/streams', ['Host: 0.0.0.0']), 403],
  ['an empty name', get('/v1/streams', ['Host: ']), 403, 400],
  ['somebody in front of a name', get('/v1/streams', ['Host: 127.0.0.1@evil.example']), 403],
  ['a URL of another host', get('http://evil.example/v1/streams'), 403],
  ['a URL of another host, and its name', get('http://evil.example/v1/streams', ['Host: evil.example']), 403],
  [
    'what a browser asks before',
    request('OPTIONS /v1/streams', ['Origin: https://evil.example', 'Access-Control-Request-Method: DELETE']),
    405,
  ],
];

const METHODS: readonly Row[] = [
  ['TRACE', request('TRACE /v1/streams'), 404, 405],
  ['CONNECT', request('CONNECT evil.example:443'), 'cut', 400, 404],
  ['PROPFIND', request('PROPFIND /v1/streams'), 404, 405],
  ['DELETE of all', request('DELETE /v1/streams'), 405],
  ['GET of a change', get('/v1/streams/orders/pause'), 405],
  ['another method in a header', request('POST /v1/streams/orders', ['X-HTTP-Method-Override: DELETE']), 405],
  ['another method in the query', request('POST /v1/streams/orders?_method=DELETE'), 405],
  ['lower case', request('delete /v1/streams/orders'), 400],
  ['no method', request('EVIL /v1/streams/orders'), 400],
];

const TARGETS: readonly Row[] = [
  ['an escape that is no byte', get('/v1/streams/%zz'), 400],
  ['an escape that is no UTF-8', get('/v1/streams/%ff'), 400],
  ['an escape longer than it need be', get('/v1/streams/%c0%ae%c0%ae'), 400],
  ['an escape as Windows had them', get('/v1/streams/%u002e'), 400],
  ['half an escape', get('/v1/streams/%e2%82'), 400],
  ['bytes beyond ASCII', get('/v1/streams/\xc3\xa4'), 400, 404],
  ['a star', request('GET *'), 400, 404],
  ['no slash', request('GET v1/streams'), 400, 404],
  ['a file', request('GET file:///etc/passwd'), 400, 403, 404],
  ['none', ['GET HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'], 400],
];

const PROTOCOLS: readonly Row[] = [
  ['HTTP/0.9', ['GET /v1/streams\r\n\r\n'], 400],
  ['HTTP/1.0 without a host', ['GET /v1/streams HTTP/1.0\r\n\r\n'], 403],
  ['HTTP/9.9', ['GET /v1/streams HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n'], 400],
  ['HTTP/2', ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], 400],
  ['TLS', [Buffer.from('1603010200010001fc0303', 'hex')], 400],
  ['SSH', ['SSH-2.0-OpenSSH_9.9\r\n'], 400],
  ['bytes', [Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 151) % 256))], 400],
  ['NULs', [Buffer.alloc(64)], 400],
];

const KINDS = { TRAVERSAL, SMUGGLING, HUGE, TYPES, MALFORMED, ORIGINS, METHODS, TARGETS, PROTOCOLS };

/** For a sidecar on loopback that asks for no token, with a stream named orders. */
export const BAD_REQUESTS: readonly BadRequest[] = Object.entries(KINDS).flatMap(([kind, rows]) =>
  rows.map(([what, pieces, ...expect]) => ({ what: `${kind.toLowerCase()}: ${what}`, pieces, expect })),
);

/** For a sidecar with tokens, from a client whose certificate is right. */
export function badTokens({ operate, read }: { operate: string; read: string }): readonly BadRequest[] {
  const asked = (header: string): RawPiece[] => get('/v1/streams', [header]);
  const reading = [`Authorization: Bearer ${read}`];
  const rows: readonly Row[] = [
    ['none', get('/v1/streams'), 401],
    ['none for metrics', get('/metrics'), 401],
    ['none for the description', get('/openapi.json'), 401],
    ['none where nothing is', get('/nothing'), 401],
    ['none for a change', request(PAUSE), 401],
    ['another', asked('Authorization: Bearer another'), 401],
    ['another for reasons', get('/readyz', ['Authorization: Bearer another']), 401],
    ['the beginning', asked(`Authorization: Bearer ${operate.slice(0, -1)}`), 401],
    ['more than it', asked(`Authorization: Bearer ${operate}x`), 401],
    ['in upper case', asked(`Authorization: Bearer ${operate.toUpperCase()}`), 401],
    ['two at once', asked(`Authorization: Bearer ${operate} ${read}`), 401],
    ['two headers', get('/v1/streams', ['Authorization: Bearer another', `Authorization: Bearer ${operate}`]), 400],
    ['as a password', asked(`Authorization: Basic ${Buffer.from(`spoor:${operate}`).toString('base64')}`), 401],
    ['without its scheme', asked(`Authorization: ${operate}`), 401],
    ['an empty one', asked('Authorization: Bearer '), 401],
    ['one of 10,000 characters', asked(`Authorization: Bearer ${'x'.repeat(10_000)}`), 401],
    ['beyond ASCII', asked('Authorization: Bearer \xe9\xff'), 401],
    ['in the query', get(`/v1/streams?access_token=${operate}`), 401],
    ['in a cookie', asked(`Cookie: token=${operate}`), 401],
    ['in another header', asked(`X-Api-Key: ${operate}`), 401],
    ['for the proxy', asked(`Proxy-Authorization: Bearer ${operate}`), 401],
    ['in the body', post(`{"access_token":"${operate}"}`), 401],
    ['as a user of the URL', get(`http://${operate}@127.0.0.1/v1/streams`), 401],
    [
      'behind the end of the headers',
      [`GET /v1/streams HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\nAuthorization: Bearer ${operate}\r\n`],
      401,
    ],
    ['that for reading, to make one', post(ORDERS, [JSON_TYPE, ...reading]), 403],
    ['that for reading, to have one', post(ORDERS, [JSON_TYPE, ...reading], 'PUT /v1/streams/evil'), 403],
    ['that for reading, to try it', post(ORDERS, [JSON_TYPE, ...reading], 'POST /v1/streams?dryRun=true'), 403],
    ['that for reading, to change', post('{"paused":false}', [JSON_TYPE, ...reading], 'PATCH /v1/streams/orders'), 403],
    ['that for reading, to pause', request(PAUSE, reading), 403],
    ['that for reading, to resume', request('POST /v1/streams/orders/resume', reading), 403],
    ['that for reading, to copy', request('POST /v1/streams/orders/resync', reading), 403],
    ['that for reading, to delete', request('DELETE /v1/streams/orders', reading), 403],
    ['that for reading, to hold', post('{"tablets":[]}', [JSON_TYPE, ...reading], 'POST /v1/local/holds'), 403],
    ['that for reading, where nothing is', request('POST /nothing', reading), 403],
    [
      'the right one, of a page',
      request(PAUSE, [`Authorization: Bearer ${operate}`, 'Origin: https://evil.example']),
      403,
    ],
  ];
  return rows.map(([what, pieces, ...expect]) => ({ what: `token: ${what}`, pieces, expect }));
}
