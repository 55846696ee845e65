import type { SinkKind } from '../api/parts.ts';
import type { SinkReport } from '../sinks/sink-type.ts';
import type { SinkPlan } from '../sinks/sink.ts';
import { parseStreamDefinition, type StreamDefinition } from '../streams/definition.ts';
import type { Probe } from './examine.ts';
import { fault, faultBy, faultsOr, ok, unknown, type CheckName, type Finding } from './finding.ts';
import type { KafkaToAsk } from './kafka-brokers.ts';
import { lookAtTopics } from './kafka-topics.ts';
import type { KeptThings, ListedStream } from './stored-streams.ts';

/** What is asked of the sinks of streams: see `SinkType`. */
export interface SinksToAsk {
  /** Whether what the configuration says of such a sink can be used, be it nothing. */
  isUsable(type: SinkKind): boolean;
  plan(definition: StreamDefinition, tables: readonly string[]): SinkPlan;
  inquire(definition: StreamDefinition, places: readonly string[], signal: AbortSignal): Promise<SinkReport>;
}

/** What can be asked of a registry without making anything. */
export interface RegistryToAsk {
  /** @throws {SinkError} it does not answer, or answers no */
  schemaTypes(signal: AbortSignal): Promise<readonly string[] | null>;
}

const GRANT =
  "Make what is missing, or give the sidecars' user the right (docs/operations.md, What Kafka must allow); Spoor then goes on by itself.";
const GIVE =
  'Give it to this sidecar, as the others have it: else the tablets that are led here are shipped by another one.';
const NO_STREAMS = 'looked at once Kudu says which streams there are';

/** What the places of all streams lack: topics, rights, keys, folders. */
export function streamsProbe(kept: KeptThings | null, sinks: SinksToAsk, kafka: KafkaToAsk | null): Probe {
  return {
    check: 'streams',
    look: async (signal) => {
      const all = await listed(kept);
      if (all === null) return [unknown('streams', NO_STREAMS)];
      const streams = all.filter(({ definition }) => sinks.isUsable(definition.sink.type));
      // Whether Spoor's own topics can be had is worth knowing before there is a stream.
      const isFirst = kafka !== null && !streams.some(({ definition }) => definition.sink.type === 'kafka');
      const planned = [...streams, ...(isFirst ? [anyStream()] : [])].map((stream) => {
        const plan = sinks.plan(stream.definition, stream.tables);
        return { stream, plan, places: [...new Set(plan.places.values())] };
      });
      const reports = await Promise.all(
        planned.map(async ({ stream: { definition }, plan, places }) => {
          const { missing } = await sinks.inquire(definition, places, signal);
          const words = [...plan.faults, ...missing];
          const remedyOf = (word: string): string => (word.startsWith('SPOOR_') ? GIVE : GRANT);
          return words.map((word) => faultBy('streams', `stream ${definition.name}: ${word}`, remedyOf(word)));
        }),
      );
      const intoKafka = planned.flatMap(({ stream, places }) =>
        stream.definition.sink.type === 'kafka' ? [{ stream, sink: stream.definition.sink, places }] : [],
      );
      // Where no broker answers, that is a finding of its own.
      const ofTopics =
        kafka === null || intoKafka.length === 0 ? [] : await lookAtTopics(kafka, intoKafka, signal).catch(() => []);
      const count = streams.length === 1 ? '1 stream has' : `${streams.length} streams have`;
      const faults = [...reports.flat(), ...ofTopics];
      return faultsOr(faults, ok('streams', streams.length === 0 ? 'there is none yet' : `${count} what they need`));
    },
  };
}

function anyStream(): ListedStream {
  const parsed = parseStreamDefinition({ name: 'any', tables: ['*'], sink: { type: 'kafka', topic: '{table}' } });
  if (parsed.kind !== 'ok') throw new TypeError('a stream of nothing but defaults');
  return { definition: parsed.definition, tables: [] };
}

/** The schema registries that streams name. */
export function registryProbe(
  kept: KeptThings | null,
  registryAt: (urls: string | readonly string[]) => RegistryToAsk,
): Probe {
  return {
    check: 'registry',
    look: async (signal) => {
      const streams = await listed(kept);
      if (streams === null) return [unknown('registry', NO_STREAMS)];
      const asked = new Map(
        streams.flatMap(({ definition: { format } }) =>
          format.type === 'json' || format.registry === undefined
            ? []
            : [[JSON.stringify(format.registry), { ...format, registry: format.registry }] as const],
        ),
      );
      const faults = await Promise.all(
        Array.from(asked.values(), (format) => lookAtRegistry(registryAt(format.registry), format, signal)),
      );
      const urls = [...asked.values()].map(({ registry }) => [registry].flat().join(', '));
      return faultsOr(faults.flat(), ok('registry', urls.length === 0 ? 'no stream names one' : urls.join(', ')));
    },
  };
}

async function lookAtRegistry(
  registry: RegistryToAsk,
  { type, registry: urls }: { readonly type: string; readonly registry: string | readonly string[] },
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const check: CheckName = 'registry';
  const url = [urls].flat().join(', ');
  try {
    const types = await registry.schemaTypes(signal);
    if (types === null || types.includes(type.toUpperCase())) return [];
    return [
      fault(
        check,
        `${url} takes no schemas of ${type}, only ${types.join(', ')}`,
        `Give the stream a registry that does.`,
      ),
    ];
  } catch (error) {
    signal.throwIfAborted();
    const message = error instanceof Error ? error.message : String(error);
    return [
      fault(
        check,
        message,
        'Start the registry, or mend its URL in the format of the streams and SPOOR_REGISTRY_*; their tablets wait for it.',
      ),
    ];
  }
}

async function listed(kept: KeptThings | null): Promise<readonly ListedStream[] | null> {
  // Why Kudu does not say is told where its servers are looked at.
  return kept === null ? null : kept.streams().catch(() => null);
}
