import { readServerUuid } from '../keeping/server-folders.ts';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';
import type { ServerStatus } from '../kudu/tserver-proxy.ts';
import type { ClockReading } from './clocks.ts';
import type { Probe } from './examine.ts';
import { fault, faultsOr, ok, unknown, type Finding } from './finding.ts';
import { kuduFault, type KuduAsk, type MasterWord } from './kudu-ask.ts';

const START_MASTER =
  "Start that master, or mend its address in SPOOR_KUDU_MASTERS (its RPC port, 7051 by default, and not its web page's); look at firewalls between here and there.";
const START_TSERVER =
  "Start that tablet server, or mend its address in SPOOR_TSERVER (its RPC port, 7050 by default, and not its web page's).";

/** A master that was given, and what became of asking it. */
export interface AskedMaster {
  readonly address: string;
  /** Null where it did not answer. */
  readonly uuid: string | null;
  readonly word: MasterWord | null;
}

/** A master that the cluster names. Its uuid is null where it does not answer. */
export interface ToldMaster {
  readonly address: string;
  readonly uuid: string | null;
}

/** What is wrong with which masters were given, beside those that do not answer. */
export function judgeMasters(given: readonly AskedMaster[], told: readonly ToldMaster[]): readonly Finding[] {
  const answering = given.filter(({ uuid }) => uuid !== null);
  const clusters = new Set(given.flatMap(({ word }) => word?.clusterId || []));
  const known = new Set(given.flatMap(({ address, uuid }) => [address, uuid]));
  const missing = told.filter(({ address, uuid }) => !known.has(address) && (uuid === null || !known.has(uuid)));
  // One that answers nobody may be one of those that were given, by another name.
  const silent = given.length - answering.length;
  const certainly = missing.filter(({ uuid }) => uuid !== null || silent === 0);
  const faults: Finding[] = [];
  if (clusters.size > 1)
    faults.push(
      fault(
        'masters',
        `SPOOR_KUDU_MASTERS names masters of ${clusters.size} clusters`,
        "Set SPOOR_KUDU_MASTERS to the tablet server's own --tserver_master_addrs.",
      ),
    );
  else if (certainly.length > 0)
    faults.push(
      fault(
        'masters',
        `SPOOR_KUDU_MASTERS leaves out ${certainly.map(({ address }) => address).join(', ')}`,
        `Name all masters: SPOOR_KUDU_MASTERS=${told.map(({ address }) => address).join(',')}`,
      ),
    );
  if (answering.length > 0 && !given.some(({ word }) => word?.isLeader))
    faults.push(
      fault(
        'masters',
        'none of the masters that answer leads',
        'Start the others: more than half of them have to run; the log of each says why it does not lead.',
      ),
    );
  return faults;
}

export function masterProbe(kudu: KuduAsk): Probe {
  return {
    check: 'masters',
    look: async (signal) => {
      const findings: Finding[] = [];
      const given = await Promise.all(
        kudu.masters.map(async (address): Promise<AskedMaster> => {
          let uuid: string | null = null;
          try {
            ({ uuid } = await kudu.server(address).getStatus({ signal }));
            return { address, uuid, word: await kudu.wordOf(address, signal) };
          } catch (error) {
            findings.push(kuduFault('masters', `SPOOR_KUDU_MASTERS: ${address}`, error, START_MASTER));
            return { address, uuid, word: null };
          }
        }),
      );
      const addresses = new Set(given.flatMap(({ word }) => word?.masters ?? []));
      const told = await Promise.all(
        [...addresses].map(async (address): Promise<ToldMaster> => {
          const uuid = await uuidAt(kudu, address, signal);
          return { address, uuid };
        }),
      );
      findings.push(...judgeMasters(given, told));
      return faultsOr(findings, ok('masters', kudu.masters.join(', ')));
    },
  };
}

async function uuidAt(kudu: KuduAsk, address: string, signal: AbortSignal): Promise<string | null> {
  try {
    return (await kudu.server(address).getStatus({ signal })).uuid;
  } catch {
    return null;
  }
}

export function tserverProbe(kudu: KuduAsk, address: string, walDir: string | null): Probe {
  return {
    check: 'tablet server',
    look: async (signal) => {
      let status: ServerStatus;
      try {
        status = await kudu.server(address).getStatus({ signal });
      } catch (error) {
        return [kuduFault('tablet server', `SPOOR_TSERVER ${address}`, error, START_TSERVER)];
      }
      const { uuid, version } = status;
      const name = `${address} (${uuid})${version === null ? '' : `, ${version}`}`;
      const isKnown = await isKnownTo(kudu, uuid, signal);
      return [
        ...judgeFolderOwner(address, uuid, walDir),
        isKnown === null
          ? unknown('tablet server', `${name} answers; whether the masters know it cannot be asked`)
          : isKnown
            ? ok('tablet server', name)
            : fault(
                'tablet server',
                `the masters of SPOOR_KUDU_MASTERS do not know the tablet server ${name}`,
                'Give the masters of its --tserver_master_addrs; where they are, it has yet to reach them.',
              ),
      ];
    },
  };
}

/** Null where that cannot be asked, which is a finding of its own. */
async function isKnownTo(kudu: KuduAsk, uuid: string, signal: AbortSignal): Promise<boolean | null> {
  try {
    const known = await (await kudu.cluster()).listTabletServers({ signal });
    return known.some((server) => server.uuid === uuid);
  } catch {
    return null;
  }
}

function judgeFolderOwner(address: string, uuid: string, walDir: string | null): readonly Finding[] {
  const inFolder = walDir === null ? null : serverOf(walDir);
  if (inFolder === null || inFolder === uuid) return [];
  return [
    fault(
      'wal folder',
      `SPOOR_WAL_DIR ${walDir} is of tablet server ${inFolder}, and SPOOR_TSERVER ${address} is ${uuid}`,
      "Set SPOOR_WAL_DIR to the --fs_wal_dir of that tablet server, or SPOOR_TSERVER to the folder's.",
    ),
  ];
}

/** Null where the folder tells none, which is a finding of its own. */
function serverOf(walDir: string): string | null {
  try {
    return readServerUuid(walDir);
  } catch {
    return null;
  }
}

/** What time it is by a server. @throws {KuduError} */
export async function readKuduClock(
  kudu: KuduAsk,
  address: string,
  now: () => number,
  signal: AbortSignal,
): Promise<ClockReading> {
  const askedAtMs = now();
  const time = await kudu.server(address).serverClock({ signal });
  const theirMs = Number(hybridTimeToMicros(time) / 1000n);
  return { of: `the tablet server ${address}`, theirMs, askedAtMs, answeredAtMs: now() };
}
