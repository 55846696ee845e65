import { connect, type Socket } from 'node:net';
import { after, before } from 'node:test';
import type { ISocketFactory } from 'kafkajs';
import type { KafkaServer } from '../../src/demo/kafka-server.ts';
import { createKafkaSink } from '../../src/sinks/kafka/kafka-sink.ts';
import type { Sink } from '../../src/sinks/sink.ts';
import { SCHEDULE_CASES } from '../contract/sink-cases/schedules.ts';
import { VOLUME_CASES } from '../contract/sink-cases/volumes.ts';
import { describeSink, SINK_CASES, type SeenRecord } from '../contract/sink.ts';
import { form } from '../support/forms.ts';
import { startKafka } from '../support/cluster.ts';
import { someSidecar } from '../support/sink-load.ts';
import { keepingLogger } from '../support/loggers.ts';
import { TopicReader } from '../support/topic-reader.ts';

let kafka: KafkaServer;
before(async () => {
  kafka = await startKafka();
});
after(async () => {
  await kafka[Symbol.asyncDispose]();
});

async function read(streamName: string, count: number): Promise<readonly SeenRecord[]> {
  const seen: SeenRecord[] = [];
  await using reader = await TopicReader.start({
    brokers: kafka.brokers,
    topics: [`cdc.${streamName}.shop.orders`],
    onRecord: ({ key, value, headers, timestampMs }) => {
      if (key === null) return; // a mark
      const position = headers['spoor.pos']!;
      seen.push({ key: key.toString(), value: value?.toString() ?? null, position, timestampMs });
    },
  });
  await reader.settle(() => seen.length >= count, { quietMs: 500, timeoutMs: 30_000 });
  return seen;
}

/** What of a request to Kafka is the write: with the end of its transaction it is there, or with its records. */
const WRITES = { 'exactly-once': 26, 'at-least-once': 0 } as const;
/** The process of a sink: its connections, and whether it lives. */
interface Process {
  readonly sockets: Set<Socket>;
  isDead: boolean;
}
/** The short form's: a silent broker takes seconds, and at least once reads and writes as the other does. */
const WITHOUT_SILENCE = SINK_CASES.filter((one) => one.needs !== 'duringFreeze');
const SLOW = [...VOLUME_CASES, ...SCHEDULE_CASES];
const WITHOUT_SLOW_ONES = WITHOUT_SILENCE.filter((one) => !SLOW.includes(one));
const processes = new WeakMap<Sink, Process>();
/** Streams of which the next answer to a write is lost. */
const losing = new Set<string>();

function connectionsOf(streamName: string, own: Process, apiKey: number): ISocketFactory {
  return ({ host, port, onConnect }) => {
    const socket = connect({ host, port }, onConnect);
    if (own.isDead) socket.destroy(new Error('the process is dead'));
    own.sockets.add(socket);
    let isLosing = false;
    const write = socket.write.bind(socket) as (bytes: Buffer, encoding: BufferEncoding) => boolean;
    const emit = socket.emit.bind(socket) as (event: string, ...what: unknown[]) => boolean;
    socket.write = ((bytes: Buffer, encoding: BufferEncoding) => {
      if (bytes.length > 6 && bytes.readInt16BE(4) === apiKey && losing.delete(streamName)) isLosing = true;
      return write(bytes, encoding);
    }) as typeof socket.write;
    socket.emit = ((event: string, ...what: unknown[]) => {
      if (!isLosing || event !== 'data') return emit(event, ...what);
      socket.destroy(new Error('the answer is lost'));
      return true;
    }) as typeof socket.emit;
    return socket;
  };
}

for (const delivery of ['exactly-once', 'at-least-once'] as const)
  describeSink(
    `Kafka ${delivery}`,
    () => ({
      open: (streamName) => {
        const own: Process = { sockets: new Set(), isDead: false };
        const sink = createKafkaSink({
          ...someSidecar(),
          streamName,
          brokers: kafka.brokers,
          topic: 'cdc.{stream}.{table}',
          delivery,
          partitions: 3,
          replicationFactor: 1,
          createTopics: true,
          requestTimeoutMs: 3_000,
          socketFactory: connectionsOf(streamName, own, WRITES[delivery]),
          logger: keepingLogger(),
        });
        processes.set(sink, own);
        return sink;
      },
      read,
      duringOutage: async (work) => {
        await kafka.kill();
        try {
          await work();
        } finally {
          await kafka.restart();
        }
      },
      duringFreeze: async (work) => {
        await kafka.freeze();
        try {
          await work();
        } finally {
          kafka.thaw();
        }
      },
      loseAnswer: (streamName) => {
        losing.add(streamName);
      },
      kill: (sink) => {
        const own = processes.get(sink)!;
        own.isDead = true;
        for (const socket of own.sockets) socket.destroy(new Error('the process is dead'));
      },
      tooLargeBytes: 2 << 20,
    }),
    { exactlyOnce: delivery === 'exactly-once' },
    form(delivery === 'exactly-once' ? WITHOUT_SILENCE : WITHOUT_SLOW_ONES, SINK_CASES),
  );
