import type { KuduClient } from '../kudu/client.ts';
import { KuduError } from '../kudu/errors.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { TserverErrorCode } from '../kudu/status.ts';
import { encodeMarker, type ApplyMarker } from '../change/apply-marker.ts';
import { explain } from './kudu-refusal.ts';
import { MarkerError, type MarkerErrorKind, type MarkerWriter } from '../keeping/marker-writing.ts';

/** Long enough for an election, and short enough not to hold back the next marker, which says more. */
const TIMEOUT_MS = 10_000;

/** Writes markers through a tablet's leader, wherever that is. */
export class KuduMarkerWriter implements MarkerWriter {
  readonly #client: Pick<KuduClient, 'writeExtension'>;
  readonly #timeoutMs: number;

  /** @param options.timeoutMs of one marker, looking for the leader included; default: 10 s */
  constructor(client: Pick<KuduClient, 'writeExtension'>, options: { readonly timeoutMs?: number } = {}) {
    this.#client = client;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  }

  async write(
    tablet: { readonly tableId: string; readonly tabletId: string },
    marker: ApplyMarker,
    signal: AbortSignal,
  ): Promise<HybridTime> {
    try {
      const options = { timeoutMs: this.#timeoutMs, signal };
      return (await this.#client.writeExtension(tablet, encodeMarker(marker), options)).timestamp;
    } catch (error) {
      signal.throwIfAborted();
      throw asMarkerError(error, tablet.tabletId);
    }
  }
}

/** The message says what the servers said; a token is never in that. */
function asMarkerError(error: unknown, tabletId: string): MarkerError {
  const { kind, why } = judge(error);
  return new MarkerError(kind, `the marker of tablet ${tabletId} was not written: ${why}: ${explain(error)}`, error);
}

function judge(error: unknown): { readonly kind: MarkerErrorKind; readonly why: string } {
  // Not of a server: a column type that this client does not know, so that it cannot even name the key.
  if (!(error instanceof KuduError)) return { kind: 'refused', why: 'this version of Spoor cannot write to the table' };
  const last = error.lastCause;
  if (last.locked) return { kind: 'locked', why: 'a multi-row transaction holds the tablet' };
  if (last.notLeader) return { kind: 'not-leader', why: 'no replica leads the tablet' };
  if (last.notFound) return { kind: 'refused', why: 'the tablet is dropped' };
  if (last.kind === 'tserver' && last.code === TserverErrorCode.MISMATCHED_SCHEMA)
    return { kind: 'retry', why: 'the schema is just being changed' };
  if (last.busy) return { kind: 'retry', why: 'the tablet server is busy' };
  if (last.retriable) return { kind: 'retry', why: 'no tablet server answered in time' };
  return { kind: 'refused', why: 'Kudu refuses it' };
}
