import type Broker from 'kafkajs/src/broker/index.js';
import { SinkError } from '../sink.ts';
import type { Api } from './wire/api.ts';
import { PRODUCE } from './wire/transaction-apis.ts';

type Versions = Pick<Broker, 'versions'>;

export interface Unspoken {
  readonly apis: readonly string[];
  readonly isController: boolean;
}

/** A request that this broker does not know. */
export class UnknownApiError extends SinkError {
  constructor(api: Api<never, unknown>, broker: Versions) {
    super(
      'refused',
      isController(broker)
        ? 'what answers takes no records, as the listener of a KRaft controller does not: give the address of a broker'
        : `the broker does not speak ${api.name} version ${api.version}; Spoor needs Kafka 2.5 or newer`,
    );
  }
}

/** The newest of the versions that we have which this broker speaks. @throws {UnknownApiError} it speaks none */
export function versionFor<Q, S>(broker: Versions, api: Api<Q, S>): Api<Q, S> {
  const spoken = spokenVersion(broker, api);
  if (spoken === null) throw new UnknownApiError(api, broker);
  return spoken;
}

/** Whether it takes no records in any version: a broker of any age does, a KRaft controller's listener does not. */
function isController({ versions }: Versions): boolean {
  return versions !== null && versions[PRODUCE.key] === undefined;
}

/** Which of these a broker does not speak in any version that we have, and whether it is one at all. */
export function unspokenBy(broker: Versions, apis: readonly Api<never, unknown>[]): Unspoken {
  const unspoken = apis.filter((api) => spokenVersion(broker, api) === null);
  return {
    apis: unspoken.map(({ name, version }) => `${name} version ${version}`),
    isController: isController(broker),
  };
}

function spokenVersion<Q, S>({ versions }: Versions, api: Api<Q, S>): Api<Q, S> | null {
  const range = versions?.[api.key];
  if (range !== undefined && range.minVersion <= api.version && range.maxVersion >= api.version) return api;
  return api.older === undefined ? null : spokenVersion({ versions: versions! }, api.older);
}
