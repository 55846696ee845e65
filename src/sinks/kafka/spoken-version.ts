import type Broker from 'kafkajs/src/broker/index.js';
import { SinkError } from '../sink.ts';
import type { Api } from './wire/api.ts';

type Versions = Pick<Broker, 'versions'>;

/** A request that this broker does not know. */
export class UnknownApiError extends SinkError {
  constructor(api: Api<never, unknown>) {
    super('refused', `the broker does not speak ${api.name} version ${api.version}; Spoor needs Kafka 2.5 or newer`);
  }
}

/** The newest of the versions that we have which this broker speaks. @throws {UnknownApiError} it speaks none */
export function versionFor<Q, S>(broker: Versions, api: Api<Q, S>): Api<Q, S> {
  const spoken = spokenVersion(broker, api);
  if (spoken === null) throw new UnknownApiError(api);
  return spoken;
}

/** Which of these a broker does not speak, in any version that we have. */
export function unspokenBy(broker: Versions, apis: readonly Api<never, unknown>[]): string[] {
  return apis.flatMap((api) => (spokenVersion(broker, api) === null ? [`${api.name} version ${api.version}`] : []));
}

function spokenVersion<Q, S>({ versions }: Versions, api: Api<Q, S>): Api<Q, S> | null {
  const range = versions?.[api.key];
  if (range !== undefined && range.minVersion <= api.version && range.maxVersion >= api.version) return api;
  return api.older === undefined ? null : spokenVersion({ versions: versions! }, api.older);
}
