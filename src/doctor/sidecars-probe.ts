import { readdirSync, readlinkSync, realpathSync } from 'node:fs';
import { hostname } from 'node:os';
import type { KnownSidecar } from '../api/shapes.ts';
import { describeOwner, holdLock, readLockNote, serverLock, type LockNote } from '../keeping/hold-owner.ts';
import { isLoopbackHost, parseHostPort } from '../util/host-port.ts';
import type { Probe } from './examine.ts';
import { fault, faultsOr, ok, unknown, type Finding } from './finding.ts';
import type { KeptThings } from './stored-streams.ts';

const ONE_EACH =
  'A tablet server has one sidecar: stop that one, or give this one a SPOOR_SYSTEM_TABLE_PREFIX and a SPOOR_HOLD_DIR of its own.';

/** The folders of a sidecar, and what it is called by. */
export interface OwnSidecar {
  readonly walDir: string;
  readonly holdDir: string;
  readonly systemTablePrefix: string;
  /** Address of the tablet server beside it; null where none is given. */
  readonly tserver: string | null;
  /** Where the other sidecars call it; null where that is not known. */
  readonly advertise: string | null;
}

/** Who has the locks of the folders at the moment; null for nobody, or nobody that can be seen from here. */
export interface LockHolders {
  readonly ofServer: LockNote | null;
  readonly ofHold: LockNote | null;
}

export function judgeSidecars(
  { walDir, holdDir, tserver, advertise }: OwnSidecar,
  { ofServer, ofHold }: LockHolders,
  known: readonly KnownSidecar[] | null,
  serverUuid: string | null,
): readonly Finding[] {
  const faults: Finding[] = [];
  if (ofServer !== null && ofServer.holdDir !== holdDir)
    faults.push(
      fault('sidecars', `the tablet server of ${walDir} has a sidecar already: ${describeOwner(ofServer)}`, ONE_EACH),
    );
  else if (ofHold !== null && ofHold.pid !== ofServer?.pid)
    faults.push(
      fault(
        'sidecars',
        `SPOOR_HOLD_DIR ${holdDir} is used by another sidecar: ${describeOwner(ofHold)}`,
        'Give each a SPOOR_HOLD_DIR of its own.',
      ),
    );
  const alive = (known ?? []).filter(({ isAlive }) => isAlive);
  // It is known by either, whichever of the two was given wrongly.
  const isThis = (other: KnownSidecar): boolean => other.id === serverUuid || other.tserver === tserver;
  const namesakes = alive.filter((other) => other.http === advertise && serverUuid !== null && !isThis(other));
  if (namesakes.length > 0)
    faults.push(
      fault(
        'sidecars',
        `other sidecars are called by ${advertise ?? ''}, as this one is: beside ${namesakes.map((other) => other.tserver).join(', ')}`,
        addressOfItsOwn(advertise),
      ),
    );
  if (known === null) return faultsOr(faults, unknown('sidecars', 'looked at once Kudu says which there are'));
  const own = ofServer === null ? 'none runs here' : `process ${ofServer.pid} is the one here`;
  return faultsOr(faults, ok('sidecars', `${alive.length} live; ${own}`));
}

/** Loopback is what all are called by that were told nothing of where to listen. */
function addressOfItsOwn(advertise: string | null): string {
  const host = advertise === null ? undefined : parseHostPort(advertise)?.host;
  return host !== undefined && isLoopbackHost(host)
    ? "On one machine give each a SPOOR_HTTP_LISTEN of its own, 127.0.0.1:8101 for example. On several they cannot reach each other so: let each listen on its network, SPOOR_HTTP_LISTEN=0.0.0.0:8100 with one SPOOR_HTTP_TOKEN for all. A SPOOR_HTTP_ADVERTISE is each one's own."
    : 'Give each a SPOOR_HTTP_ADVERTISE of its own.';
}

export function sidecarsProbe(own: OwnSidecar, kept: KeptThings | null, serverUuid: () => string | null): Probe {
  return {
    check: 'sidecars',
    look: async (signal) => {
      const known = kept === null ? null : await kept.sidecars(signal).catch(() => null);
      return judgeSidecars(own, lockHolders(own), known, serverUuid());
    },
  };
}

/** Looked up in what processes have open: to try the locks could keep a sidecar that starts at this moment from them. */
export function lockHolders({ walDir, holdDir, systemTablePrefix }: OwnSidecar): LockHolders {
  return {
    ofServer: holderOf(serverLock(walDir, systemTablePrefix)),
    ofHold: holderOf(holdLock(holdDir)),
  };
}

function holderOf(path: string): LockNote | null {
  const note = readLockNote(path);
  return note !== null && note.host === hostname() && hasOpen(note.pid, path) ? note : null;
}

/** Whether a process of this machine has a file open, as far as we may see. */
function hasOpen(pid: number, path: string): boolean {
  try {
    const real = realpathSync(path);
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((descriptor) => {
      try {
        return readlinkSync(`${folder}/${descriptor}`) === real;
      } catch {
        return false; // closed meanwhile
      }
    });
  } catch {
    return false;
  }
}
