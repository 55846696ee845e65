import * as z from 'zod';
import { SinkError } from '../sink.ts';
import { connect, formatAddress, type Address } from './client.ts';
import { slotOf } from './key-slot.ts';
import { toSinkError } from './redis-error.ts';
import type { RedisAccess, RedisServers } from './settings.ts';

export interface TopologyOptions {
  readonly servers: RedisServers;
  readonly access: RedisAccess;
  readonly commandTimeoutMs: number;
}

interface Owner {
  readonly from: number;
  readonly to: number;
  readonly address: Address;
}

const LAST_SLOT = 16383;

/** Source: redis.io/commands/cluster-slots. */
const slotsAnswer = z.array(
  z.tuple([z.int(), z.int(), z.tuple([z.string().nullable(), z.int()]).rest(z.unknown())]).rest(z.unknown()),
);
const masterAnswer = z.tuple([z.string(), z.string()]);

/** Which server has which key, as it was when it was asked for. */
export class Topology {
  readonly #owners: readonly Owner[];

  private constructor(owners: readonly Owner[]) {
    this.#owners = owners;
  }

  /** @throws {SinkError} nobody answers who knows */
  static async ask(options: TopologyOptions, signal: AbortSignal): Promise<Topology> {
    return new Topology(await ownersOf(options, signal));
  }

  /** @throws {SinkError} nobody has it */
  ownerOf(key: string): Address {
    const slot = slotOf(key);
    const owner = this.#owners.find(({ from, to }) => from <= slot && slot <= to);
    if (owner === undefined)
      throw new SinkError('unavailable', `no node of the Cluster serves slot ${slot}, in which ${key} is`);
    return owner.address;
  }

  /** Each server that has a slot. */
  get all(): readonly Address[] {
    return [...new Map(this.#owners.map(({ address }) => [formatAddress(address), address])).values()];
  }
}

async function ownersOf(options: TopologyOptions, signal: AbortSignal): Promise<readonly Owner[]> {
  const all = (address: Address): Owner[] => [{ from: 0, to: LAST_SLOT, address }];
  const { kind, hosts } = options.servers;
  if (kind === 'single') return all(hosts[0]!);
  if (kind === 'sentinel') return all(await askSentinels(options, signal));
  return askInTurn(options, signal, async (client, seed) => {
    const slots = slotsAnswer.parse(await client.call('CLUSTER', 'SLOTS'));
    // A node that does not know its own address is where we have asked.
    const isKnown = (host: string | null): host is string => host !== null && host !== '' && host !== '?';
    return slots.map(([from, to, [host, port]]) => ({
      from,
      to,
      address: { host: isKnown(host) ? host : seed.host, port },
    }));
  });
}

/** Who is the master, as the sentinels say. Who we are to the servers is nobody to them: they have users of their own. */
export function askSentinels(options: TopologyOptions, signal: AbortSignal): Promise<Address> {
  const { masterName } = options.servers;
  const { ca } = options.access.credentials();
  const asNobody = {
    ...options,
    servers: { ...options.servers, db: 0 },
    access: { credentials: () => (ca === undefined ? {} : { ca }) },
  };
  return askInTurn(asNobody, signal, async (client) => {
    const answer = masterAnswer.safeParse(await client.call('SENTINEL', 'get-master-addr-by-name', masterName));
    if (!answer.success) throw new Error(`it knows no master of the name ${masterName}`);
    const [host, port] = answer.data;
    return { host, port: Number(port) };
  });
}

/** Until one answers. */
async function askInTurn<T>(
  { servers, access, commandTimeoutMs }: TopologyOptions,
  signal: AbortSignal,
  ask: (client: Awaited<ReturnType<typeof connect>>, address: Address) => Promise<T>,
): Promise<T> {
  let failure: SinkError | null = null;
  for (const address of servers.hosts) {
    try {
      const client = await connect(address, { servers, credentials: access.credentials(), commandTimeoutMs }, signal);
      try {
        return await ask(client, address);
      } finally {
        client.disconnect();
      }
    } catch (error) {
      if (signal.aborted) throw new SinkError('unavailable', 'stopped', error);
      failure ??= toSinkError(error, formatAddress(address));
    }
  }
  throw failure ?? new SinkError('refused', 'SPOOR_REDIS_URL names no server');
}
