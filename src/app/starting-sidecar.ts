import type { ControlPlane, ServedSidecar } from '../api/control-plane.ts';
import type { ClusterLooker } from '../api/cluster-look.ts';
import type { HoldFigures, ReasonedView, SidecarFigures } from '../api/shapes.ts';
import { SpoorError } from '../errors.ts';
import type { StartTrouble } from './start-trouble.ts';

/** What there is once Kudu was reached. */
export interface AtWork {
  readonly plane: ControlPlane;
  readonly looker: ClusterLooker;
  /** For the metrics, besides the tablets that are shipped from here. */
  readonly holds: () => readonly HoldFigures[];
  readonly figures: () => SidecarFigures;
}

/**
 * A sidecar that may still be waiting for Kudu. Its API is up from the first moment, so that health checks see a reason
 * instead of a closed port.
 */
export class StartingSidecar implements ServedSidecar {
  #work: AtWork | null = null;
  #trouble: StartTrouble = { part: 'kudu', reason: 'still connecting' };

  /** Why it is not at work yet. */
  waitingFor(trouble: StartTrouble): void {
    this.#trouble = trouble;
  }

  isAtWork(work: AtWork): void {
    this.#work = work;
  }

  get plane(): ControlPlane {
    return this.#atWork.plane;
  }

  /** @throws {SpoorError} SPOOR_KUDU_UNAVAILABLE before it is at work */
  get looker(): ClusterLooker {
    return this.#atWork.looker;
  }

  get #atWork(): AtWork {
    if (this.#work) return this.#work;
    throw new SpoorError('SPOOR_KUDU_UNAVAILABLE', `not at work yet: ${this.#trouble.reason}`);
  }

  localTablets(which: 'all' | 'exceptions'): readonly ReasonedView[] {
    return this.#work?.plane.localTablets(which) ?? [];
  }

  /** The held logs of all replicas here whose tables are streamed. */
  holds(): readonly HoldFigures[] {
    return this.#work?.holds() ?? [];
  }

  figures(): SidecarFigures {
    return this.#work?.figures() ?? { kuduAnswers: false, clockOffsetSeconds: null, unattendedTservers: [] };
  }

  async readiness(): ReturnType<ServedSidecar['readiness']> {
    if (this.#work) return this.#work.plane.readiness();
    const { part, reason } = this.#trouble;
    const unknown = { ok: false, reason: 'not looked at yet' };
    return { kudu: unknown, kafka: unknown, wal: unknown, [part]: { ok: false, reason } };
  }
}
