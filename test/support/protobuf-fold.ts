import protobuf from 'protobufjs';
import type { SpoorCluster } from './spoor-cluster.ts';
import { TopicReader } from './topic-reader.ts';

const FRAME_BYTES = 6;

/**
 * The rows that a topic makes, a JSON object each, by a reader that has nothing of ours: the newest texts of the registry, whatever the
 * records were written under.
 */
export async function foldProtobuf(
  cluster: SpoorCluster,
  registryUrl: string,
  topic: string,
): Promise<readonly string[]> {
  const typeOf = async (which: 'key' | 'value', message: string): Promise<protobuf.Type> => {
    const response = await fetch(`${registryUrl}/subjects/${topic}-${which}/versions/latest`);
    const { schema } = (await response.json()) as { schema: string };
    const { root, package: name } = protobuf.parse(schema, { keepCase: true });
    return root.lookupType(`${name}.${message}`);
  };
  const [keyType, valueType] = [await typeOf('key', 'Key'), await typeOf('value', 'Envelope')];
  const read = (type: protobuf.Type, bytes: Buffer): Record<string, unknown> =>
    type.toObject(type.decode(bytes.subarray(FRAME_BYTES)), { longs: String, bytes: String });
  const rows = new Map<string, unknown>();
  let records = 0;
  await using reader = await TopicReader.start({
    brokers: cluster.kafka.brokers,
    topics: [topic],
    onRecord: ({ key, value }) => {
      records++;
      if (!key || key.length === 0) return; // a mark
      const row = JSON.stringify(read(keyType, key));
      const after = value && read(valueType, value)['after'];
      if (after) rows.set(row, after);
      else rows.delete(row);
    },
  });
  await reader.settle(() => records > 0, { timeoutMs: 60_000 });
  return [...rows.values()].map((row) => JSON.stringify(row));
}
