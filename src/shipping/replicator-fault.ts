import { ERRORS, SpoorError } from '../errors.ts';
import { SinkError } from '../sinks/sink.ts';
import type { Fault } from './replicator-state.ts';

/** What an error of the sink means to the tablet. */
export function sinkFault(error: unknown): Fault {
  if (error instanceof SinkError && error.kind === 'refused')
    return { kind: 'operator', code: 'SPOOR_SINK_REFUSED', message: error.message };
  return { kind: 'retry', code: 'SPOOR_SINK_UNAVAILABLE', message: messageOf(error) };
}

/** What an error of the log means to it, or of an encoder that cannot make a record of what the log has. */
export function logFault(error: unknown): Fault {
  if (!(error instanceof SpoorError)) return { kind: 'retry', code: 'SPOOR_WAL_UNREADABLE', message: messageOf(error) };
  const kind = error.code === 'SPOOR_WAL_GAP' ? 'gap' : ERRORS[error.code].retry === 'operator' ? 'operator' : 'retry';
  return { kind, code: error.code, message: error.message };
}

/** What nobody expected to fail. */
export function internalFault(error: unknown): Fault {
  return { kind: 'retry', code: 'SPOOR_INTERNAL', message: messageOf(error) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
