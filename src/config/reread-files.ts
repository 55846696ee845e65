import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Logger } from '../util/logger.ts';
import { pause } from '../util/pause.ts';
import { readValueText } from '../util/watched-file.ts';
import { VARIABLES, type VariableName, type Variables } from './variables.ts';

/** A change is taken up when it was seen twice: what is half written is another one by then. */
const LOOK_EVERY_MS = 1000;

export interface RereadOptions<Name extends VariableName> {
  /** Of those that were given as files: where these are, absolute. */
  readonly files: Readonly<Partial<Record<Name, string>>>;
  /** Takes the new values up, all of those that have files. @throws {Error} they cannot be used: the old ones stay */
  readonly take: (values: Readonly<Partial<Pick<Variables, Name>>>) => void;
  readonly logger: Logger;
  readonly everyMs?: number;
}

/** What was seen of some files: a text that differs when one of them does. */
export interface Watch {
  /** What was taken up last, or was tried to be. */
  readonly known: string;
  /** What was seen instead, once. */
  readonly glimpsed: string | null;
}

/** Pure: whether what is seen now is to be taken up. What was refused is tried again when it has changed once more. */
export function look({ known, glimpsed }: Watch, seen: string): { watch: Watch; isNew: boolean } {
  if (seen === known) return { watch: { known, glimpsed: null }, isNew: false };
  if (seen !== glimpsed) return { watch: { known, glimpsed: seen }, isNew: false };
  return { watch: { known: seen, glimpsed: null }, isNew: true };
}

/**
 * Reads the files of variables that belong together again, until `signal` aborts, and has what changed taken up. By their
 * content, every second: Kubernetes swaps a link for all files of a secret, editors and `mv` swap the file, and of both
 * a watch on a path tells little. What cannot be read or used is logged, once, and the old values stay.
 */
export async function rereadFiles<Name extends VariableName>(
  { files, take, logger, everyMs = LOOK_EVERY_MS }: RereadOptions<Name>,
  signal: AbortSignal,
): Promise<void> {
  const entries = Object.entries(files) as [Name, string][];
  if (entries.length === 0) return;
  const names = entries.map(([name]) => `${name}_FILE`).join(', ');
  // They may have changed since the configuration was read: what they hold first is taken up as well, which changes nothing else.
  let watch: Watch = { known: '', glimpsed: null };
  let atStart: string | null = seenIn(entries.map(([name, path]) => ({ name, path, text: readNow(path) })));
  for (;;) {
    await pause(everyMs, signal);
    if (signal.aborted) return;
    const contents = await readAll(entries);
    const looked = look(watch, seenIn(contents));
    watch = looked.watch;
    if (!looked.isNew) continue;
    try {
      take(valuesOf(contents));
      if (watch.known !== atStart)
        logger.info({ variables: names }, 'files of the configuration have changed, and are in force');
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.error(
        { variables: names, reason },
        'files of the configuration have changed and cannot be used, what was read before stays',
      );
    }
    atStart = null; // from now on whatever is new is a change
  }
}

interface Content<Name> {
  readonly name: Name;
  readonly path: string;
  /** Null where it cannot be read. */
  readonly text: string | null;
}

function readAll<Name>(entries: readonly (readonly [Name, string])[]): Promise<Content<Name>[]> {
  return Promise.all(
    entries.map(async ([name, path]) => ({ name, path, text: await readFile(path, 'utf8').catch(() => null) })),
  );
}

/** Null where it cannot be read. */
function readNow(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function seenIn(contents: readonly Content<unknown>[]): string {
  return JSON.stringify(contents.map(({ text }) => text));
}

/** @throws {Error} with what is wrong, and never with a value */
function valuesOf<Name extends VariableName>(contents: readonly Content<Name>[]): Partial<Pick<Variables, Name>> {
  const values: Partial<Record<VariableName, unknown>> = {};
  for (const { name, path, text } of contents) {
    const given = text === null ? null : readValueText(text);
    if (given === null || given === '')
      throw new Error(`${name}_FILE: ${JSON.stringify(path)} ${given === null ? 'cannot be read' : 'is empty'}`);
    const parsed = VARIABLES.shape[name].safeParse(given);
    if (!parsed.success) throw new Error(`${name}_FILE: what ${JSON.stringify(path)} holds is no value of ${name}`);
    values[name] = parsed.data;
  }
  return values as Partial<Pick<Variables, Name>>;
}
