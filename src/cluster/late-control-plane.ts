import { SpoorError } from '../errors.ts';
import type { OpId } from '../kudu/opid.ts';
import type { StreamChange, StreamDefinition } from '../replication/stream.ts';
import type {
  ControlPlane,
  LogRequest,
  ResyncedStream,
  ResyncRequest,
  SidecarView,
  StreamPlan,
  StreamView,
  ReasonedView,
  UpdatedStream,
} from '../replication/views.ts';
import type { StartTrouble } from './start-trouble.ts';

/**
 * The control plane of a sidecar that may still be waiting for Kudu: says so until the real one is there. The API is up
 * from the first moment, so that health checks see a reason instead of a closed port.
 */
export class LateControlPlane implements ControlPlane {
  #plane: ControlPlane | null = null;
  #trouble: StartTrouble = { part: 'kudu', reason: 'still connecting' };

  /** Why the real one is not there yet. */
  waitingFor(trouble: StartTrouble): void {
    this.#trouble = trouble;
  }

  becomes(plane: ControlPlane): void {
    this.#plane = plane;
  }

  // async, so that what #get throws is a rejection like any other
  async createStream(definition: StreamDefinition): Promise<StreamView> {
    return this.#get().createStream(definition);
  }

  async planStream(definition: StreamDefinition): Promise<StreamPlan> {
    return this.#get().planStream(definition);
  }

  async listStreams(): Promise<readonly StreamView[]> {
    return this.#get().listStreams();
  }

  async getStream(name: string): Promise<StreamView | null> {
    return this.#get().getStream(name);
  }

  async updateStream(name: string, change: StreamChange): Promise<UpdatedStream> {
    return this.#get().updateStream(name, change);
  }

  async resyncStream(name: string, request: ResyncRequest): Promise<ResyncedStream | null> {
    return this.#get().resyncStream(name, request);
  }

  async holdTablets(tabletIds: readonly string[]): Promise<void> {
    return this.#get().holdTablets(tabletIds);
  }

  async pauseStream(name: string): Promise<StreamView | null> {
    return this.#get().pauseStream(name);
  }

  async resumeStream(name: string): Promise<StreamView | null> {
    return this.#get().resumeStream(name);
  }

  async deleteStream(name: string): Promise<boolean> {
    return this.#get().deleteStream(name);
  }

  localTablets(): readonly ReasonedView[] {
    return this.#plane?.localTablets() ?? [];
  }

  openHeldLog(tabletId: string, after: OpId, request: LogRequest): AsyncIterable<Uint8Array> | null {
    return this.#get().openHeldLog(tabletId, after, request);
  }

  async listSidecars(): Promise<readonly SidecarView[]> {
    return this.#get().listSidecars();
  }

  async readiness(): ReturnType<ControlPlane['readiness']> {
    if (this.#plane) return this.#plane.readiness();
    const { part, reason } = this.#trouble;
    const unknown = { ok: false, reason: 'not looked at yet' };
    return { kudu: unknown, kafka: unknown, wal: unknown, [part]: { ok: false, reason } };
  }

  #get(): ControlPlane {
    if (this.#plane) return this.#plane;
    throw new SpoorError('SPOOR_KUDU_UNAVAILABLE', `not at work yet: ${this.#trouble.reason}`);
  }
}
