import { toSinkError } from '../sinks/kafka/kafka-error.ts';
import { KafkaConnections, formatAddress, type Address } from '../sinks/kafka/connections.ts';
import type { KafkaAccess } from '../sinks/kafka/security/access.ts';
import { METADATA } from '../sinks/kafka/wire/cluster-apis.ts';
import { NEEDED_APIS } from '../sinks/kafka/wire/needed-apis.ts';
import { parseHostPort } from '../util/host-port.ts';
import type { Logger } from '../util/logger.ts';
import type { Probe } from './examine.ts';
import { fault, faultsOr, ok, unknown, type Finding } from './finding.ts';

const CONNECT_TIMEOUT_MS = 3_000;
const CHANNEL = 0;
const START_BROKER =
  'Start that broker, or mend its address in SPOOR_KAFKA_BROKERS; look at firewalls between here and there.';

/** Where Kafka is, and as whom it is asked. */
export interface KafkaToAsk {
  readonly brokers: readonly string[];
  readonly access: KafkaAccess;
  readonly logger: Logger;
}

/** What became of asking one broker, by the address that was given or that another gave of it. */
export interface AskedBroker {
  readonly address: string;
  /** Who gave that address; null where it was configured. */
  readonly toldBy: string | null;
  /** Null where it answered. */
  readonly trouble: string | null;
  /** What it does not speak. */
  readonly unspoken: readonly string[];
  /** Its listener is a KRaft controller's, which takes no records. */
  readonly isController: boolean;
  readonly clusterId: string | null;
}

export function judgeBrokers(asked: readonly AskedBroker[]): readonly Finding[] {
  const faults = asked.flatMap(({ address, toldBy, trouble, unspoken, isController }): Finding[] => {
    if (trouble !== null)
      return [
        toldBy === null
          ? fault('kafka', `SPOOR_KAFKA_BROKERS: ${address}: ${trouble}`, START_BROKER)
          : fault(
              'kafka',
              `${toldBy} says that a broker is at ${address}, which cannot be reached from here: ${trouble}`,
              "Look at that broker's advertised.listeners: they name what its clients reach it by. Where it is down, start it.",
            ),
      ];
    if (isController)
      return [
        fault(
          'kafka',
          `SPOOR_KAFKA_BROKERS: what answers at ${address} takes no records, as the listener of a KRaft controller does not`,
          "Give the brokers' own listeners, as advertised.listeners has them.",
        ),
      ];
    if (unspoken.length > 0)
      return [
        fault(
          'kafka',
          `the broker at ${address} is too old: it does not speak ${unspoken.join(', ')}`,
          'Spoor needs Kafka 2.5 or newer: upgrade the brokers.',
        ),
      ];
    return [];
  });
  const clusters = new Set(asked.flatMap(({ clusterId }) => clusterId ?? []));
  if (clusters.size > 1)
    faults.push(
      fault(
        'kafka',
        `the brokers are of ${clusters.size} clusters`,
        'Name brokers of one cluster in SPOOR_KAFKA_BROKERS.',
      ),
    );
  const names = asked.map(({ address }) => address).join(', ');
  return faultsOr(faults, ok('kafka', `${names} answer${asked.length === 1 ? 's' : ''}`));
}

export function brokerProbe(kafka: KafkaToAsk | null): Probe {
  return {
    check: 'kafka',
    look: async (signal) => {
      if (kafka === null)
        return [unknown('kafka', 'SPOOR_KAFKA_BROKERS is not given: this sidecar ships no stream to Kafka')];
      const { brokers, access, logger } = kafka;
      const timeouts = { connectTimeoutMs: CONNECT_TIMEOUT_MS, requestTimeoutMs: CONNECT_TIMEOUT_MS };
      await using connections = new KafkaConnections({ clientId: 'spoor', access, ...timeouts, logger });
      const given = await Promise.all(brokers.map((broker) => ask(connections, addressOf(broker), null, signal)));
      const known = new Set(given.map(({ address }) => address));
      const told = new Map(
        given.flatMap(({ address, nodes }) =>
          nodes
            .filter((node) => !known.has(formatAddress(node)))
            .map((node) => [formatAddress(node), { node, address }]),
        ),
      );
      const others = await Promise.all(
        Array.from(told.values(), ({ node, address }) => ask(connections, node, address, signal)),
      );
      return judgeBrokers([...given, ...others]);
    },
  };
}

async function ask(
  connections: KafkaConnections,
  address: Address,
  toldBy: string | null,
  signal: AbortSignal,
): Promise<AskedBroker & { readonly nodes: readonly Address[] }> {
  const asked = {
    ...{ address: formatAddress(address), toldBy, trouble: null, unspoken: [], isController: false },
    ...{ clusterId: null, nodes: [] },
  };
  try {
    const { apis, isController } = await connections.unspoken(address, NEEDED_APIS, signal);
    if (apis.length > 0) return { ...asked, unspoken: apis, isController };
    const { nodes, clusterId } = await connections.send(address, CHANNEL, METADATA, [], signal);
    return { ...asked, nodes, clusterId };
  } catch (error) {
    signal.throwIfAborted();
    return { ...asked, trouble: toSinkError(error).message };
  }
}

/** Brackets of IPv6 are the configuration's. */
function addressOf(text: string): Address {
  const parsed = parseHostPort(text);
  if (parsed === null) throw new RangeError(`a broker is written host:port, got ${JSON.stringify(text)}`);
  return parsed;
}
