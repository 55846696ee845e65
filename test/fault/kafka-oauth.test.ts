import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { OAuthTokens } from '../../src/sinks/kafka/security/oauth-tokens.ts';
import { requestToken, type TokenEndpointOptions } from '../../src/sinks/kafka/security/token-endpoint.ts';
import type { GrantedToken } from '../../src/sinks/kafka/security/token-life.ts';
import { SinkError, type SinkErrorKind } from '../../src/sinks/sink.ts';
import { steadyNow } from '../../src/util/steady-clock.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { grant, TokenEndpoint, type TokenRequest } from '../support/token-endpoint.ts';

const never = new AbortController().signal;
const SECRET = 's3cret /+&=%';

const optionsFor = (endpoint: TokenEndpoint, more: Partial<TokenEndpointOptions> = {}): TokenEndpointOptions => ({
  tokenUrl: `${endpoint.url}?api-key=hidden`,
  clientId: 'spoor:1',
  clientSecret: () => SECRET,
  ca: () => undefined,
  ...more,
});

async function failureOf(work: Promise<unknown>): Promise<SinkError> {
  const error: unknown = await work.then(
    () => assert.fail('it was taken'),
    (failure: unknown) => failure,
  );
  assert.ok(error instanceof SinkError, String(error));
  return error;
}

describe('a token endpoint', () => {
  it('is asked as RFC 6749 says, and its token is taken', async () => {
    await using endpoint = await TokenEndpoint.start();
    const { value, sinceMs, endsMs } = await requestToken(optionsFor(endpoint, { scope: 'a b' }), never);
    assert.deepEqual([value, endsMs - sinceMs], ['token-1', 3_600_000]);
    const [{ authorization, form }] = endpoint.requests as [TokenRequest];
    assert.deepEqual(Object.fromEntries(form), { grant_type: 'client_credentials', scope: 'a b' });
    // 2.3.1: both parts are encoded as in a form, since a colon stands between them.
    const [id, secret] = Buffer.from(authorization.replace('Basic ', ''), 'base64').toString().split(':');
    assert.deepEqual([...new URLSearchParams(`${id}=${secret}`)], [['spoor:1', SECRET]]);
  });

  const decoded = (authorization: string): string =>
    Buffer.from(authorization.replace('Basic ', ''), 'base64').toString();
  const quoted = ({ authorization }: TokenRequest): string =>
    [authorization, decoded(authorization), SECRET, encodeURIComponent(SECRET)].join(' ');
  const json = (status: number, body: object) => (response: ServerResponse) => {
    grant(response, body, status);
  };
  const text =
    (status: number, body: string, headers: Record<string, string> = {}) =>
    (response: ServerResponse): void => {
      response.writeHead(status, { 'content-type': 'text/html', ...headers }).end(body);
    };
  const CASES: readonly [
    what: string,
    answer: (response: ServerResponse, request: TokenRequest) => void,
    kind: SinkErrorKind,
    words: RegExp,
  ][] = [
    [
      'an error of RFC 6749',
      json(400, { error: 'invalid_scope', error_description: 'no such scope' }),
      'refused',
      /it answers 400, invalid_scope: no such scope$/,
    ],
    ['a client that it does not know', json(401, { error: 'invalid_client' }), 'refused', /401, invalid_client$/],
    [
      'a challenge',
      text(401, '', { 'www-authenticate': 'Basic realm="x", error="invalid_client"' }),
      'refused',
      /it answers 401/,
    ],
    [
      'an error that quotes what it was told',
      (response, request) => {
        grant(response, { error: 'invalid_client', error_description: quoted(request) }, 401);
      },
      'refused',
      /invalid_client: Basic \*\*\* spoor%3A1:\*\*\* \*\*\* \*\*\*$/,
    ],
    [
      'a page that quotes what it was told',
      (response, request) => {
        text(403, quoted(request))(response);
      },
      'refused',
      /it answers 403: Basic \*\*\*/,
    ],
    ['a server that is busy', json(429, { error: 'slow_down' }), 'unavailable', /429, slow_down/],
    ['a server that is broken', text(502, '<h1>Bad\n gateway</h1>'), 'unavailable', /it answers 502: <h1>Bad gateway/],
    [
      'a redirect, which is not followed',
      text(302, '', { location: 'http://127.0.0.1:1/' }),
      'refused',
      /answers 302$/,
    ],
    ['a page', text(200, '<html>'), 'unavailable', /its answer is none of RFC 6749/],
    ['no token', json(200, { token_type: 'Bearer' }), 'unavailable', /its answer is none of RFC 6749.*access_token/],
    [
      'a token of another type',
      json(200, { access_token: 'x', token_type: 'mac' }),
      'unavailable',
      /unsupported `token_type`/,
    ],
    ['too much', text(200, 'x'.repeat(2 << 20)), 'unavailable', /an answer of more than 1048576 bytes/],
    ['nothing', () => undefined, 'unavailable', /it did not answer within 300 ms/],
    [
      'a socket that breaks',
      (response) => {
        response.destroy();
      },
      'unavailable',
      /socket hang up/,
    ],
  ];
  for (const [what, answer, kind, words] of CASES)
    it(`that answers with ${what} is said so, without secrets`, async () => {
      await using endpoint = await TokenEndpoint.start();
      endpoint.answer = answer;
      const error = await failureOf(requestToken(optionsFor(endpoint, { timeoutMs: 300 }), never));
      assert.equal(error.kind, kind, error.message);
      assert.match(error.message, words);
      assert.match(error.message, /^no token for Kafka from http:\/\/127\.0\.0\.1:\d+\/token: /);
      for (const secret of [SECRET, encodeURIComponent(SECRET), 'hidden'])
        assert.ok(!error.message.includes(secret), error.message);
    });

  it('that is away is said so', async () => {
    const endpoint = await TokenEndpoint.start();
    const options = optionsFor(endpoint);
    await endpoint[Symbol.asyncDispose]();
    const { kind, message } = await failureOf(requestToken(options, never));
    assert.deepEqual([kind, /ECONNREFUSED/.test(message)], ['unavailable', true], message);
  });
});

describe('the token of all connections', () => {
  /** Tokens by number that live for so long; `failing` fails instead. */
  function tokens(livesMs: number): {
    of: OAuthTokens;
    asked: () => number;
    fail: (is: boolean) => void;
    said: () => readonly string[];
  } {
    let [asked, failing] = [0, false];
    const request = async (): Promise<GrantedToken> => {
      asked++;
      await sleep(20);
      if (failing) throw new SinkError('unavailable', 'away');
      return { value: `token-${asked}`, sinceMs: steadyNow(), endsMs: steadyNow() + livesMs };
    };
    const fail = (is: boolean): void => {
      failing = is;
    };
    const lines: LogLine[] = [];
    const of = new OAuthTokens({ request, logger: keepingLogger(lines) });
    return { of, asked: () => asked, fail, said: () => lines.map(({ message }) => message) };
  }

  it('is one request, however many ask at once, and a failure is one too', async () => {
    const { of, asked, fail } = tokens(60_000);
    await using owned = of;
    fail(true);
    const failures = await Promise.allSettled(Array.from({ length: 20 }, () => owned.current(never)));
    await assert.rejects(owned.current(never), /away/);
    assert.deepEqual([failures.every(({ status }) => status === 'rejected'), asked()], [true, 1]);
    fail(false);
    await sleep(1_050); // a failure is everybody's answer for a second
    const got = await Promise.all(Array.from({ length: 20 }, () => owned.current(never)));
    assert.deepEqual([new Set(got).size, asked()], [1, 2]);
  });

  it('is renewed before it ends as long as it is used, and rests otherwise', async () => {
    const { of, asked } = tokens(400);
    await using owned = of;
    const seen = new Set<string>();
    for (const end = steadyNow() + 1_000; steadyNow() < end;) {
      seen.add(await owned.current(never));
      await sleep(10);
    }
    assert.ok(seen.size >= 3 && asked() <= seen.size + 1, `${seen.size} seen, ${asked()} asked for`);
    await sleep(500);
    const resting = asked();
    await sleep(800);
    assert.equal(asked(), resting, 'nobody has used the last one');
  });

  it('is there in time for a single connection, which asks for the next when the last is nearly over', async () => {
    const { of, asked } = tokens(1_000);
    await using owned = of;
    assert.equal(await owned.current(never), 'token-1');
    await eventually('it is renewed, though nobody asks', () => asked() === 2);
    await sleep(100);
    assert.equal(await owned.current(never), 'token-2');
    assert.equal(asked(), 2);
  });

  it('serves until its end while there is no other, which is said', async () => {
    const { of, fail, said } = tokens(4_000);
    await using owned = of;
    assert.equal(await owned.current(never), 'token-1');
    fail(true);
    await eventually('it is not renewed', () => said().includes('the token for kafka is not renewed, trying again'));
    assert.equal(await owned.current(never), 'token-1');
    await sleep(1_000);
    await assert.rejects(owned.current(never), /away/);
  });

  it('is replaced when a broker has refused it, and only that one', async () => {
    const { of, asked } = tokens(60_000);
    await using owned = of;
    const first = await owned.current(never);
    owned.refused(first); // a fresh one: the fault is not its age
    owned.refused('another');
    assert.equal(await owned.current(never), first);
    assert.equal(asked(), 1);
  });

  it('is waited for no longer than the caller lives', async () => {
    const { of } = tokens(60_000);
    await using owned = of;
    await assert.rejects(owned.current(AbortSignal.timeout(5)), { name: 'TimeoutError' });
    assert.equal(await owned.current(never), 'token-1', 'the request went on for others');
  });
});
