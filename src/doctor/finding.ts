/** The things that are looked at, in the order in which they are told. */
export const CHECKS = [
  'configuration',
  'node',
  'open files',
  'user',
  'wal folder',
  'hold folder',
  'disk',
  'masters',
  'tablet server',
  'rights',
  'flags',
  'clock',
  'api',
  'sidecars',
  'kafka',
  'redis',
  'registry',
  'streams',
] as const;
export type CheckName = (typeof CHECKS)[number];

/**
 * What was found of one thing. `advice`: it works, and would be better otherwise. `unknown`: it could not be looked at, and the reason
 * is no fault of its own.
 */
export type Finding =
  | { readonly check: CheckName; readonly state: 'ok' | 'unknown'; readonly what: string }
  | { readonly check: CheckName; readonly state: 'fault' | 'advice'; readonly what: string; readonly remedy: string };

export function ok(check: CheckName, what: string): Finding {
  return { check, state: 'ok', what };
}

export function unknown(check: CheckName, what: string): Finding {
  return { check, state: 'unknown', what };
}

export function fault(check: CheckName, what: string, remedy: string): Finding {
  return { check, state: 'fault', what, remedy };
}

export function advice(check: CheckName, what: string, remedy: string): Finding {
  return { check, state: 'advice', what, remedy };
}

/** How a remedy begins where a message has it behind a colon, or a semicolon. */
const REMEDY = /^(.*?)[:;] ((?:set|give|raise|make|start|stop|run|delete|look|take|create|register|let|grant)\b[^]*)$/i;

/**
 * A fault by a message that Spoor has elsewhere as well: these end in what to do, behind a colon.
 * @param otherwise what to do where the message does not say
 */
export function faultBy(check: CheckName, message: string, otherwise: string): Finding {
  const [, what, remedy] = REMEDY.exec(message) ?? [];
  return what === undefined || remedy === undefined ? fault(check, message, otherwise) : fault(check, what, remedy);
}

/** Where nothing is wrong, that is said; else the faults are all there is to say. */
export function faultsOr(faults: readonly Finding[], allRight: Finding): readonly Finding[] {
  return faults.length > 0 ? faults : [allRight];
}
