import type { CopyProgress, TabletPosition } from '../change/position.ts';
import { SpoorError, type ErrorCode } from '../errors.ts';
import type { Rewound } from '../change/change.ts';
import type { Rewind } from '../streams/stored-stream.ts';
import type { Found } from './log-search.ts';
import type { Cut } from './table-copier.ts';

/*
 * What a position owes before the tablet's log goes on behind it. The decisions alone: tablet-source.ts carries them out.
 *
 *   case  what there is                                         step
 *   1     the log does not go on; what it lacks has a begin     what changed since then, deletes included
 *   2     the log does not go on, else                          all rows
 *   3     a copy is wanted, and was not begun                   all rows
 *   4     a copy was begun, and the position is at its cut      the rest of its rows
 *   5     a copy was begun, and the position has gone on: it    the log up to a cut, then all rows
 *         was given up
 *   6     a resync was asked for, and was not begun             the log up to a cut, then all rows
 *   7     nothing of these                                      none
 *
 * Behind that, where a rewind was asked for and was not begun: the log up to a cut, then what is asked for of the log before it;
 * where the log does not reach back so far, what changed since then, and where that is not known all rows. A rewind that was
 * begun is a copy without rows, and goes on as case 4; a resync that is asked for takes its place.
 *
 * A step that cannot be done may have another in its place: see {@link INSTEAD}.
 */

/** What is asked of a tablet beside what its position says. */
export interface CopyRequest {
  /** The log does not go on at the position: what it lacks is read from the table. */
  readonly repairs: boolean;
  /** A copy of all rows that was asked for, by its id; null for none. */
  readonly resync: string | null;
  /** The sink may have rows of an earlier membership: what the first copy has not is gone from it. */
  readonly joinsAgain: boolean;
  /** What is to be shipped again; null for nothing. */
  readonly rewind: Rewind | null;
}

/** Which rows a copy has, and what its end says. */
export type CopyScope = Pick<CopyProgress, 'since' | 'replaces' | 'onlyLog' | 'replayAfter'>;

export type CopyStep =
  /** Rows as they are now; nothing of the log before is needed. */
  | { readonly kind: 'copy-now'; readonly scope: CopyScope }
  /** The rest of a copy that another one began, or we before. */
  | { readonly kind: 'resume'; readonly copy: CopyProgress }
  /** The log up to a cut, and then rows as they are there. Until the cut the position goes on owing what it owes. */
  | { readonly kind: 'copy-behind-log'; readonly scope: CopyScope }
  /** The log up to a cut, and then what is asked for once more. */
  | { readonly kind: 'rewind'; readonly rewind: Rewind };

/** What may keep a step from being done, and no trying again gets past; `other` passes, or is nobody's to judge here. */
export type Obstacle = 'log-gap' | 'log-unreadable' | 'history-gone' | 'other';

export interface Instead {
  readonly step: CopyStep;
  readonly because: string;
}

const ALL: CopyScope = {};
const ALL_ANEW: CopyScope = { replaces: true };

/** Pure. Null: the log goes on. */
export function copyStep(position: TabletPosition, request: CopyRequest): CopyStep | null {
  const { copy } = position;
  if (request.repairs) return { kind: 'copy-now', scope: repairScope(position, request) };
  if (copy === 'wanted') return { kind: 'copy-now', scope: request.joinsAgain ? ALL_ANEW : ALL };
  const isAskedFor = request.resync !== null && position.resync !== request.resync;
  // All up to the cut was shipped before: what a rewind still owes is in the copy.
  if (copy?.cut === position.opId.index && !(copy.onlyLog && isAskedFor)) return { kind: 'resume', copy };
  return copy !== undefined || isAskedFor ? behindLog(position, request) : null;
}

/** Pure. What comes behind the copies: null for nothing. */
export function rewindStep(position: TabletPosition, { rewind }: CopyRequest): CopyStep | null {
  return rewind === null || position.rewound === rewind.id ? null : { kind: 'rewind', rewind };
}

/**
 * Pure. How a rewind is done, by what the log has of it; null: nothing comes again.
 * @param cut what is stamped behind it comes again in any case: who makes rows whole then knows all that is
 */
export function rewindScope(
  { to }: Rewind,
  found: Found,
  { replayAfter }: Pick<Cut, 'replayAfter'>,
): { readonly scope: CopyScope; readonly rewound: Rewound } | null {
  if (found.kind === 'nothing') return null;
  if (found.kind === 'behind') {
    const after = replayAfter !== null && replayAfter.index < found.opId.index ? replayAfter : found.opId;
    return { scope: { onlyLog: true, replayAfter: after }, rewound: { by: 'log', after } };
  }
  return 'time' in to
    ? { scope: { since: to.time }, rewound: { by: 'history', since: to.time } }
    : { scope: ALL_ANEW, rewound: { by: 'table' } };
}

/** Pure. Which step takes the place of one that cannot be done; null: none does, and the fault is told. */
export function insteadOf(
  step: CopyStep,
  obstacle: Obstacle,
  position: TabletPosition,
  request: CopyRequest,
): Instead | null {
  return INSTEAD[step.kind][obstacle]?.(step, position, request) ?? null;
}

type Choice = (step: CopyStep, position: TabletPosition, request: CopyRequest) => Instead | null;

const INSTEAD: Readonly<Record<CopyStep['kind'], Readonly<Record<Obstacle, Choice | null>>>> = {
  'copy-now': {
    'history-gone': (step, position, request) =>
      step.kind === 'copy-now' && step.scope.since !== undefined
        ? {
            step: { kind: 'copy-now', scope: allRowsScope(position, request) },
            because: 'the table does not keep what the lost log changed, copying all of it',
          }
        : null,
    'log-gap': null,
    'log-unreadable': null,
    other: null,
  },
  resume: {
    'history-gone': (step, position, request) => ({
      step:
        step.kind === 'resume' && step.copy.since !== undefined
          ? { kind: 'copy-now', scope: ALL_ANEW }
          : behindLog(position, request),
      because: 'the copy took longer than the table keeps its history, beginning another one',
    }),
    // Whoever began it read the log of another replica, or before it was let go: what is behind the cut is in the table.
    'log-gap': () => ({
      step: { kind: 'copy-now', scope: ALL_ANEW },
      because: 'the copy cannot go on, beginning another one',
    }),
    // What is read again was shipped before: nobody waits for just these operations.
    'log-unreadable': (step) =>
      step.kind === 'resume' && step.copy.onlyLog
        ? { step: { kind: 'copy-now', scope: ALL_ANEW }, because: 'the log cannot be read again, copying all rows' }
        : null,
    other: null,
  },
  rewind: {
    'history-gone': begunRewind('the table does not keep what changed since then, copying all of it'),
    'log-gap': begunRewind('the log does not reach back so far any more, copying all rows'),
    'log-unreadable': begunRewind('the log cannot be read again, copying all rows'),
    other: null,
  },
  'copy-behind-log': {
    'history-gone': null,
    'log-gap': null,
    // It is no hindrance to a copy that somebody asked for: that takes the place of what is lost.
    'log-unreadable': (_step, _position, request) =>
      request.resync === null
        ? null
        : {
            step: { kind: 'copy-now', scope: ALL_ANEW },
            because: 'the log cannot be read up to the copy that was asked for, copying without it',
          },
    other: null,
  },
};

/** Before its cut a rewind is a reading of the log as any other. */
function begunRewind(because: string): Choice {
  return (_step, { copy }) => (copy === undefined ? null : { step: { kind: 'copy-now', scope: ALL_ANEW }, because });
}

export function obstacleOf(error: unknown): Obstacle {
  if (!(error instanceof SpoorError)) return 'other';
  if (error.code === 'SPOOR_WAL_GAP') return 'log-gap';
  if (error.code === 'SPOOR_SNAPSHOT_TOO_OLD') return 'history-gone';
  return UNREADABLE.has(error.code) ? 'log-unreadable' : 'other';
}

const UNREADABLE: ReadonlySet<string> = new Set([
  'SPOOR_WAL_CORRUPT',
  'SPOOR_WAL_UNSUPPORTED',
  'SPOOR_WAL_DIVERGED',
  'SPOOR_TRANSACTION_UNSUPPORTED',
] satisfies ErrorCode[]);

/** Pure. Where a tablet stands at the cut of a copy that needs nothing of the log before it. */
export function positionAtCut(
  before: TabletPosition,
  cut: Cut,
  scope: CopyScope,
  { resync: askedFor }: Pick<CopyRequest, 'resync'>,
): TabletPosition & { readonly copy: CopyProgress } {
  const { opId, tableName, schemaVersion, time } = cut;
  // What changed is not all rows: who asked for these has them behind it.
  const resync =
    (scope.since === undefined ? askedFor : null) ?? before.resync ?? (before.opId.index > 0n ? REPAIR : null);
  return {
    opId,
    tableName,
    schemaVersion,
    time,
    copy: beginCopy(cut, scope),
    ...(resync !== null && { resync }),
    ...(before.corrected !== undefined && { corrected: before.corrected }),
    ...(before.rewound !== undefined && { rewound: before.rewound }),
  };
}

/** Pure. */
export function beginCopy({ opId, time, replayAfter }: Cut, scope: CopyScope): CopyProgress {
  return { cut: opId.index, at: time, rows: 0, ...(replayAfter && { replayAfter }), ...scope };
}

/** Pure. Of which request the rows behind a position are, where nobody asked for a copy. */
export function repairOf({ resync }: TabletPosition): string {
  return resync ?? REPAIR;
}

export function withoutCopy(position: TabletPosition): TabletPosition {
  const whole: { copy?: unknown } & TabletPosition = { ...position };
  delete whole.copy;
  return whole;
}

/** What {@link TabletPosition.resync} says of copies that nobody asked for. */
const REPAIR = 'repair';

function repairScope(position: TabletPosition, request: CopyRequest): CopyScope {
  const { copy, time } = position;
  return copy === undefined && time !== undefined ? { since: time + 1n } : allRowsScope(position, request);
}

function allRowsScope({ opId }: TabletPosition, { joinsAgain }: CopyRequest): CopyScope {
  return opId.index > 0n || joinsAgain ? ALL_ANEW : ALL;
}

/** Where the copy that this one takes the place of was to say what is gone, so does this one. */
function behindLog({ copy }: TabletPosition, { joinsAgain }: CopyRequest): CopyStep {
  const replaces = copy !== undefined && (joinsAgain || (copy !== 'wanted' && copy.replaces === true));
  return { kind: 'copy-behind-log', scope: replaces ? ALL_ANEW : ALL };
}
