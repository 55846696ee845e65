import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KafkaConnections, type ConnectionOptions } from '../../src/sinks/kafka/connections.ts';
import { ByteReader, ByteWriter } from '../../src/sinks/kafka/wire/bytes.ts';
import type { Api } from '../../src/sinks/kafka/wire/api.ts';
import { SinkError } from '../../src/sinks/sink.ts';
import { FakeBroker, type FakeRequest } from '../support/fake-broker.ts';
import { passwordLogin } from '../support/kafka-logins.ts';
import { keepingLogger } from '../support/loggers.ts';

const REQUEST_TIMEOUT_MS = 800;
const never = new AbortController().signal;

/** A request that is a number, and an answer that is one too. */
const ECHO: Api<number, number> = {
  key: 3,
  version: 5,
  name: 'Echo',
  encode: (value) => new ByteWriter().int32(value).finish(),
  decode: (bytes) => {
    const r = new ByteReader(bytes);
    return { throttleMs: r.int32(), value: r.int32() };
  },
};
const echo = (request: FakeRequest, throttleMs = 0): void => {
  request.answer(new ByteWriter().int32(throttleMs).int32(request.body.readInt32BE(0)).finish());
};

function connect(changes: Partial<ConnectionOptions> = {}): KafkaConnections {
  const options = { clientId: 'test', connectTimeoutMs: 200, requestTimeoutMs: REQUEST_TIMEOUT_MS };
  return new KafkaConnections({ ...options, logger: keepingLogger(), ...changes });
}

describe('KafkaConnections', () => {
  it('sends the requests of a channel in the order of the calls, also while it opens', async () => {
    const seen: number[] = [];
    await using broker = await FakeBroker.start((request) => {
      seen.push(request.body.readInt32BE(0));
      echo(request);
    });
    await using connections = connect({ connectTimeoutMs: 5_000, requestTimeoutMs: 5_000 });
    const numbers = Array.from({ length: 50 }, (_, i) => i);
    const answers = await Promise.all(numbers.map((n) => connections.send(broker.address, 1, ECHO, n, never)));
    assert.deepEqual([seen, answers, broker.connections], [numbers, numbers, 1]);
    await connections.send(broker.address, 2, ECHO, 0, never);
    assert.equal(broker.connections, 2, 'another channel has a socket of its own');
  });

  it('takes a long queue for what it is: requests wait for those before them', async () => {
    const waiting: FakeRequest[] = [];
    await using broker = await FakeBroker.start((request) => waiting.push(request));
    await using connections = connect();
    const answers = Promise.all([1, 2, 3, 4].map((n) => connections.send(broker.address, 0, ECHO, n, never)));
    for (let answered = 0; answered < 4; answered++) {
      await sleep(0.4 * REQUEST_TIMEOUT_MS);
      echo(waiting[answered]!);
    }
    assert.deepEqual(await answers, [1, 2, 3, 4], 'the last one waited longer than a silent socket may be');
  });

  it('gives a silent socket up, and opens another for the next request', async () => {
    let silent = true;
    await using broker = await FakeBroker.start((request) => {
      if (!silent) echo(request);
    });
    await using connections = connect();
    const start = performance.now();
    const both = [1, 2].map((n) => connections.send(broker.address, 0, ECHO, n, never));
    for (const work of both) await assert.rejects(work, /no answer for 800 ms/);
    assert.ok(performance.now() - start < 5 * REQUEST_TIMEOUT_MS);
    silent = false;
    assert.equal(await connections.send(broker.address, 0, ECHO, 3, never), 3);
    assert.equal(broker.connections, 2);
  });

  it('waits longer for a broker that was silent, on whatever channel, until it answers', async () => {
    const slowMs = 1.5 * REQUEST_TIMEOUT_MS;
    await using broker = await FakeBroker.start((request) => {
      setTimeout(() => {
        echo(request);
      }, slowMs).unref();
    });
    await using connections = connect();
    await Promise.all(
      [1, 2, 3].map((channel) =>
        assert.rejects(connections.send(broker.address, channel, ECHO, channel, never), /no answer for 800 ms/),
      ),
    );
    const patience = connections.patienceWith(broker.address);
    assert.equal(patience.ms, 2 * REQUEST_TIMEOUT_MS, 'silence of three channels at once counts once');
    assert.equal(connections.longestPatienceMs, patience.ms);
    assert.equal(await connections.send(broker.address, 1, ECHO, 1, never), 1);
    assert.equal(await connections.send(broker.address, 4, ECHO, 4, never), 4, 'a channel that is new');
  });

  it('takes a handshake for what it is: several answers, each as slow as any other', async () => {
    await using broker = await FakeBroker.start(echo);
    broker.answersAfterMs = 0.7 * REQUEST_TIMEOUT_MS;
    await using connections = connect({ access: { tls: () => null, login: passwordLogin('u', 'p') } });
    assert.equal(await connections.send(broker.address, 1, ECHO, 1, never), 1);
    assert.equal(connections.longestPatienceMs, REQUEST_TIMEOUT_MS, 'no answer took too long');
  });

  it('asks in the older way where a broker does not know the newer, and keeps the socket', async () => {
    await using broker = await FakeBroker.start(echo);
    broker.maxVersion = ECHO.version;
    await using connections = connect();
    const newer: typeof ECHO = { ...ECHO, version: 6, encode: () => assert.fail('too new') };
    assert.equal(await connections.send(broker.address, 0, { ...newer, older: ECHO }, 1, never), 1);
    await assert.rejects(connections.send(broker.address, 0, newer, 2, never), /does not speak Echo version 6/);
    assert.equal(await connections.send(broker.address, 0, ECHO, 3, never), 3);
    assert.equal(broker.connections, 1);
  });

  it('says at once that a socket was closed with requests on it', async () => {
    let rude = true;
    await using broker = await FakeBroker.start((request) => {
      if (rude) request.hangUp();
      else echo(request);
    });
    await using connections = connect();
    await assert.rejects(connections.send(broker.address, 0, ECHO, 1, never));
    rude = false;
    assert.equal(await connections.send(broker.address, 0, ECHO, 2, never), 2);
  });

  it('does not wait for ever for a peer that closes before the handshake is over', async () => {
    await using broker = await FakeBroker.start(echo);
    await using connections = connect();
    broker.refusing = true;
    await assert.rejects(connections.send(broker.address, 0, ECHO, 1, never));
    broker.refusing = false;
    assert.equal(await connections.send(broker.address, 0, ECHO, 2, never), 2);
  });

  it('holds back what a quota wants held back, in order', async () => {
    const arrivals: { readonly value: number; readonly atMs: number }[] = [];
    await using broker = await FakeBroker.start((request) => {
      arrivals.push({ value: request.body.readInt32BE(0), atMs: performance.now() });
      echo(request, arrivals.length === 1 ? 1.2 * REQUEST_TIMEOUT_MS : 0);
    });
    await using connections = connect();
    await connections.send(broker.address, 0, ECHO, 0, never);
    await Promise.all([1, 2, 3].map((n) => connections.send(broker.address, 0, ECHO, n, never)));
    assert.deepEqual(
      arrivals.map(({ value }) => value),
      [0, 1, 2, 3],
    );
    assert.ok(arrivals[1]!.atMs - arrivals[0]!.atMs > 1.1 * REQUEST_TIMEOUT_MS);
  });

  it('lets go at once when told to, and the socket is good for others', async () => {
    const waiting: FakeRequest[] = [];
    await using broker = await FakeBroker.start((request) => waiting.push(request));
    await using connections = connect();
    const stop = new AbortController();
    const stopped = connections.send(broker.address, 0, ECHO, 1, stop.signal);
    const other = connections.send(broker.address, 0, ECHO, 2, never);
    while (waiting.length < 2) await new Promise(setImmediate);
    stop.abort(new Error('stop'));
    await assert.rejects(stopped, /stop/);
    for (const request of waiting) echo(request);
    assert.equal(await other, 2);
    assert.equal(broker.connections, 1);
  });

  it('asks for a newer broker when one does not know what we need', async () => {
    await using broker = await FakeBroker.start(echo);
    broker.maxVersion = 4;
    await using connections = connect();
    await assert.rejects(
      connections.send(broker.address, 0, ECHO, 1, never),
      (error) => error instanceof SinkError && error.kind === 'refused' && /Kafka 2\.5 or newer/.test(error.message),
    );
  });
});
