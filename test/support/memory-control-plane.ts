import type { OpId } from '../../src/kudu/opid.ts';
import { streamBody, type AskedStream } from '../../src/streams/definition.ts';
import { canChange, changeDefinition, fieldChanges, type StreamChange } from '../../src/streams/change-definition.ts';
import { checkPrecondition, type Precondition } from '../../src/streams/precondition.ts';
import type { OfParts } from '../../src/api/parts.ts';
import {
  isException,
  type FaultView,
  type NewestRecords,
  type PartHealth,
  type PutStream,
  type ReasonedView,
  type RecordView,
  type ResyncRequest,
  type RewindRequest,
  type RewoundStream,
  type SidecarView,
  type SkipRequest,
  type Standing,
  type StreamPlan,
  type StreamView,
  type TableSchemas,
  type TabletView,
  type TraceView,
  type UpdatedStream,
  type WaitingView,
} from '../../src/api/shapes.ts';
import { StreamExistsError, UnchangeableError, UnknownMemberError } from '../../src/streams/stream-errors.ts';
import {
  type AuditedStream,
  type ControlPlane,
  type LogRequest,
  type RecordPosition,
  type RecordsRequest,
  type ServedSidecar,
} from '../../src/api/control-plane.ts';

/** A control plane that keeps its streams in memory, for tests of the API in front of it. */
export class MemoryControlPlane implements ControlPlane, ServedSidecar {
  readonly plane = this;
  readonly #streams = new Map<string, StreamView>();
  /** The last revision of every name. */
  readonly #revisions = new Map<string, number>();
  health: OfParts<PartHealth> = {
    kudu: { ok: true },
    kafka: { ok: true },
    wal: { ok: true },
  };
  /** What every call throws from now on. */
  failure: Error | null = null;
  tablets: ReasonedView[] = [tabletView()];
  readonly resyncs: ResyncRequest[] = [];
  readonly rewinds: RewindRequest[] = [];
  records: RecordView[] = [];
  readonly skips: SkipRequest[] = [];
  readonly heldForNow: string[] = [];
  heldLog: (tabletId: string, after: OpId, request: LogRequest) => AsyncIterable<Uint8Array> | null = () => null;

  createStream(asked: AskedStream): Promise<StreamView> {
    return this.#answer(() => {
      this.#refuseTaken(asked);
      return this.#keep(asked);
    });
  }

  planStream(asked: AskedStream): Promise<StreamPlan> {
    return this.#answer(() => {
      this.#refuseTaken(asked);
      return planOf(asked, 'created');
    });
  }

  putStream(asked: AskedStream, precondition: Precondition): Promise<PutStream> {
    return this.#answer(() => {
      const outcome = this.#outcomeOf(asked, precondition);
      return { ...(outcome === 'unchanged' ? this.#streams.get(asked.definition.name)! : this.#keep(asked)), outcome };
    });
  }

  planPut(asked: AskedStream, precondition: Precondition): Promise<StreamPlan> {
    return this.#answer(() => planOf(asked, this.#outcomeOf(asked, precondition)));
  }

  updateStream(name: string, change: StreamChange, precondition: Precondition = {}): Promise<UpdatedStream> {
    return this.#answer((): UpdatedStream => {
      const known = this.#streams.get(name);
      if (!known) return { kind: 'missing' };
      checkPrecondition(precondition, name, known.revision);
      const changed = changeDefinition(askedOf(known), change);
      if (changed.kind !== 'ok') return changed;
      const isSame = fieldChanges(askedOf(known), changed).length === 0;
      return { kind: 'ok', stream: isSame ? known : this.#keep(changed) };
    });
  }

  schemasOf(name: string, table: string | null): Promise<readonly TableSchemas[] | null> {
    return this.#answer(() => {
      if (!this.#streams.has(name)) return null;
      if (table === 'nowhere') throw new UnknownMemberError('table', `stream ${name} has no table ${table}`);
      return [{ table: table ?? 'shop.orders', topic: 'cdc.shop.orders', avro: { key: '"key"', value: '"value"' } }];
    });
  }

  resyncStream(name: string, request: ResyncRequest): Promise<StreamView | null> {
    for (const [i, table] of (request.tables ?? []).entries())
      if (table === 'nope') throw new UnknownMemberError(`tables[${i}]`, `stream ${name} has no table ${table}`);
    this.resyncs.push(request);
    return this.#change(name, () => this.tablets.map((tablet) => tabletView({ ...tablet, state: 'resync' })));
  }

  newestRecords(name: string, { last, table }: RecordsRequest): Promise<NewestRecords | null> {
    if (table === 'nope') throw new UnknownMemberError('table', `stream ${name} has no table ${table}`);
    return this.#answer(() => (this.#streams.has(name) ? { records: this.records.slice(0, last) } : null));
  }

  traceRecord(name: string, position: RecordPosition): Promise<TraceView | null> {
    const step = { step: 'log', is: 'done', text: `of ${position.text}`, facts: {} } as const;
    return this.#answer(() => (this.#streams.has(name) ? { steps: [step] } : null));
  }

  rewindStream(name: string, request: RewindRequest): Promise<RewoundStream | null> {
    this.rewinds.push(request);
    return this.#answer(() => {
      const known = this.#streams.get(name);
      return known ? { ...known, rewind: 'w1' } : null;
    });
  }

  skipOperation(name: string, request: SkipRequest): Promise<StreamView | null> {
    if (request.tablet === 'nope') throw new UnknownMemberError('tablet', `stream ${name} has no tablet nope`);
    this.skips.push(request);
    return this.#answer(() => this.#streams.get(name) ?? null);
  }

  holdTablets(tabletIds: readonly string[]): Promise<void> {
    return this.#answer(() => void this.heldForNow.push(...tabletIds));
  }

  /** What a stream's tablets do from now on. */
  showTablets(name: string, tablets: readonly ReasonedView[]): void {
    this.#streams.set(name, { ...this.#streams.get(name)!, tablets });
  }

  listStreams(): Promise<readonly StreamView[]> {
    return this.#answer(() => [...this.#streams.values()]);
  }

  getStream(name: string): Promise<StreamView | null> {
    return this.#answer(() => this.#streams.get(name) ?? null);
  }

  definitionOf(name: string): Promise<AuditedStream | null> {
    return this.#answer(() => {
      const known = this.#streams.get(name);
      if (!known) return null;
      const { definition, paused } = askedOf(known);
      return { ...definition, paused, revision: known.revision };
    });
  }

  pauseStream(name: string): Promise<StreamView | null> {
    return this.#setPaused(name, true);
  }

  resumeStream(name: string): Promise<StreamView | null> {
    return this.#setPaused(name, false);
  }

  deleteStream(name: string, precondition: Precondition = {}): Promise<boolean> {
    return this.#answer(() => {
      const known = this.#streams.get(name);
      if (known) checkPrecondition(precondition, name, known.revision);
      if (known) this.#revisions.set(name, known.revision + 1);
      return this.#streams.delete(name);
    });
  }

  localTablets(which: 'all' | 'exceptions'): readonly ReasonedView[] {
    return which === 'all' ? this.tablets : this.tablets.filter(isException);
  }

  openHeldLog(tabletId: string, after: OpId, request: LogRequest): AsyncIterable<Uint8Array> | null {
    return this.heldLog(tabletId, after, request);
  }

  listSidecars(): Promise<readonly SidecarView[]> {
    return this.#answer(() => [
      {
        id: 'f00d',
        http: '127.0.0.1:8100',
        tserver: '127.0.0.1:7050',
        tserverUuid: 'f00d',
        version: '0.1.0',
        lastSeen: '2026-01-02T03:04:05.678Z',
      },
    ]);
  }

  readiness(): Promise<OfParts<PartHealth>> {
    return this.#answer(() => this.health);
  }

  #change(name: string, tablets: () => readonly ReasonedView[]): Promise<StreamView | null> {
    return this.#answer(() => {
      const known = this.#streams.get(name);
      if (!known) return null;
      const stream = { ...known, tablets: tablets() };
      this.#streams.set(name, stream);
      return stream;
    });
  }

  #setPaused(name: string, paused: boolean): Promise<StreamView | null> {
    return this.#answer(() => {
      const known = this.#streams.get(name);
      if (!known || known.paused === paused) return known ?? null;
      return this.#keep({ ...askedOf(known), paused });
    });
  }

  #keep({ definition, paused }: AskedStream): StreamView {
    const { name } = definition;
    const revision = (this.#revisions.get(name) ?? 0) + 1;
    this.#revisions.set(name, revision);
    const tablets = paused ? this.tablets.map((tablet) => tabletView({ ...tablet, state: 'paused' })) : this.tablets;
    const stream = { ...definition, paused, revision, createdAt: '2026-01-02T03:04:05.678Z', tablets };
    this.#streams.set(name, stream);
    return stream;
  }

  #refuseTaken({ definition: { name } }: AskedStream): void {
    if (this.#streams.has(name)) throw new StreamExistsError(`There is a stream named "${name}" already.`);
  }

  #outcomeOf(asked: AskedStream, precondition: Precondition): PutStream['outcome'] {
    const { name } = asked.definition;
    const known = this.#streams.get(name);
    checkPrecondition(precondition, name, known?.revision ?? null);
    if (!known) return 'created';
    const changes = fieldChanges(askedOf(known), asked);
    const refused = changes.filter(({ path }) => !canChange(path));
    if (refused.length > 0) throw new UnchangeableError(name, refused);
    return changes.length > 0 ? 'changed' : 'unchanged';
  }

  #answer<T>(make: () => T): Promise<T> {
    return new Promise((resolve) => {
      if (this.failure) throw this.failure;
      resolve(make());
    });
  }
}

function askedOf(stream: StreamView): AskedStream {
  const parsed = streamBody.strip().parse(stream);
  const { paused, ...definition } = parsed;
  return { definition, paused };
}

function planOf({ definition, paused }: AskedStream, outcome: StreamPlan['outcome']): StreamPlan {
  const table = { name: 'shop.orders', tablets: 2, topic: 'cdc.shop.orders', begins: 'now' as const, rows: null };
  return {
    ...{ outcome, definition, paused, changes: [], tables: [table], leaves: [], topics: [] },
    example: { table: 'shop.orders', key: '{"id":9007199254740993}', value: '{"op":"c"}', isMadeUp: true },
    missing: ['topic cdc.shop.orders does not exist'],
    warnings: [],
  };
}

/** A tablet that runs well, but for what `changed` says; a state that needs a reason has one. */
export function tabletView({ state = 'running', error, waiting, ...changed }: Partial<TabletView> = {}): ReasonedView {
  return {
    stream: 'orders',
    tabletId: '0123456789abcdef0123456789abcdef',
    table: 'shop.orders',
    sidecar: '127.0.0.1:8100',
    role: 'leader',
    applyOpId: '7.1040',
    committedOpId: '7.1042',
    lagOps: 2,
    lagSeconds: 0.25,
    hold: { index: 1040, bytes: 8_388_608, ageSeconds: 12 },
    ...changed,
    ...standingIn(state, error, waiting),
  };
}

const SINCE = '2026-01-01T00:00:00.000Z';

function standingIn(
  state: TabletView['state'],
  error: FaultView = { code: 'SPOOR_SINK_UNAVAILABLE', message: 'no broker', since: SINCE },
  waiting: WaitingView = { for: 'its turn', since: SINCE },
): Standing {
  if (state === 'running' || state === 'paused') return { state };
  return state === 'blocked' || state === 'gap' ? { state, error } : { state, waiting };
}
