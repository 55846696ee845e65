import type { KafkaDefinition } from '../../src/sinks/kafka/definition.ts';
import type { SinkDefinition } from '../../src/sinks/definitions.ts';

/** The sink of a stream that goes to Kafka. */
export function kafkaOf({ sink }: { readonly sink: SinkDefinition }): KafkaDefinition {
  if (sink.type !== 'kafka') throw new TypeError(`the stream goes to ${sink.type}`);
  return sink;
}
