import { readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { access, constants } from 'node:fs/promises';
import { descriptorLimit } from '../util/descriptors.ts';
import { fault, faultsOr, ok, unknown, type Finding } from './finding.ts';
import type { Probe } from './examine.ts';

/** The oldest Node that Spoor runs on, as package.json says. */
const OLDEST_NODE = [20, 19] as const;
/** What a sidecar has open whatever it ships, and for each tablet of which it holds the log. */
const FILES_ALWAYS = 100;
const FILES_A_TABLET = 4;
/** Less is asked for trouble at the first restart of a broker. */
const LEAST_FILES = 256;

export interface MachineFacts {
  /** `process.versions.node` */
  readonly node: string;
  /** Null where the system does not tell. */
  readonly openFiles: number | null;
  /** Whose limit that is. */
  readonly openFilesOf: string;
  /** Whose logs are held here. */
  readonly heldTablets: number;
  /** Whether the program `flock` is there, without which no sidecar starts. */
  readonly hasFlock: boolean;
}

export function judgeMachine({ node, openFiles, openFilesOf, heldTablets, hasFlock }: MachineFacts): Finding[] {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  const oldest = OLDEST_NODE.join('.');
  const isTooOld = major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
  const needed = Math.max(LEAST_FILES, FILES_ALWAYS + FILES_A_TABLET * heldTablets);
  const faults = [
    ...(isTooOld ? [fault('node', `Node is ${node}`, `Install Node ${oldest} or newer.`)] : []),
    ...(hasFlock
      ? []
      : [
          fault(
            'node',
            'the program flock is not installed, by which a sidecar keeps its folders to itself',
            'Install util-linux (or BusyBox).',
          ),
        ]),
  ];
  return [
    ...faultsOr(faults, ok('node', `Node ${node}`)),
    openFiles === null
      ? unknown('open files', 'the system does not say how many files may be open')
      : openFiles < needed
        ? fault(
            'open files',
            `${openFilesOf} may have ${openFiles} files open; ${heldTablets} tablets held here want ${needed}`,
            `Raise it to ${needed} or more: LimitNOFILE in the systemd unit, ulimit -n in a shell.`,
          )
        : ok('open files', `${openFilesOf} may have ${openFiles} files open, ${needed} do`),
  ];
}

/** @param sidecarPid of the sidecar that runs beside the same tablet server: its limit counts, and not that of this shell */
export function machineProbe(facts: {
  readonly sidecarPid: () => number | null;
  readonly heldTablets: () => number;
}): Probe {
  return {
    check: 'node',
    look: async () => {
      const pid = facts.sidecarPid();
      const ofSidecar = pid === null ? null : limitOf(pid);
      return judgeMachine({
        node: process.versions.node,
        openFiles: ofSidecar ?? descriptorLimit(),
        openFilesOf: ofSidecar === null ? 'a process of this shell' : `the sidecar (process ${pid})`,
        heldTablets: facts.heldTablets(),
        hasFlock: await isInstalled('flock'),
      });
    },
  };
}

function limitOf(pid: number): number | null {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1];
    return soft === undefined ? null : Number(soft);
  } catch {
    return null;
  }
}

async function isInstalled(program: string): Promise<boolean> {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const found = await Promise.allSettled(folders.map((folder) => access(join(folder, program), constants.X_OK)));
  return found.some(({ status }) => status === 'fulfilled');
}
