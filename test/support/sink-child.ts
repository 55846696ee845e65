/** A process to be killed: ships a made-up log to Kafka, `node sink-child.ts <broker> <stream> <delivery> <last> <seed>`. */
import { createKafkaSink } from '../../src/sinks/kafka/kafka-sink.ts';
import { tabletOf } from '../contract/sink.ts';
import { keepingLogger } from './loggers.ts';
import { seededRandom, shipLog, someSidecar } from './sink-load.ts';

const [broker, streamName, delivery, last, seed] = process.argv.slice(2) as [string, string, string, string, string];
const sink = createKafkaSink({
  ...someSidecar(),
  streamName,
  brokers: [broker],
  topic: 'cdc.{stream}.{table}',
  delivery: delivery === 'exactly-once' ? 'exactly-once' : 'at-least-once',
  partitions: 3,
  replicationFactor: 1,
  createTopics: true,
  logger: keepingLogger(),
});
process.stdout.write('begins\n');
await shipLog({ sink, tablet: tabletOf(streamName), last: Number(last), random: seededRandom(Number(seed)) });
await sink[Symbol.asyncDispose]();
process.stdout.write('done\n');
