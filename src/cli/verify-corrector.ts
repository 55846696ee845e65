import { resyncedStream } from '../api/shapes.ts';
import type { StreamView } from '../api/shapes.ts';
import type { BodyFault } from '../util/zod-faults.ts';
import type { CorrectionAnswer, Corrector } from '../verify/repair.ts';
import { expectShape, type ApiClient } from './api-client.ts';
import { streamPath } from './api-commands.ts';
import { CliError, RefusedError } from './cli-error.ts';

const KEY = /^keys\[(\d+)\]$/;

/** Has rows put right by the sidecars, over the HTTP API. */
export class ApiCorrector implements Corrector {
  readonly #client: Pick<ApiClient, 'call'>;
  readonly #stream: string;
  readonly #view: () => Promise<StreamView>;

  /** @param view the stream as the sidecars show it now */
  constructor(client: Pick<ApiClient, 'call'>, stream: string, view: () => Promise<StreamView>) {
    this.#client = client;
    this.#stream = stream;
    this.#view = view;
  }

  async request(tabletId: string, keys: readonly Buffer[]): Promise<CorrectionAnswer> {
    const body = { tablets: [tabletId], keys: keys.map((key) => key.toString('base64')) };
    try {
      const answer = await this.#client.call('POST', `${streamPath(this.#stream)}/resync`, body);
      const { correction } = expectShape(resyncedStream, answer);
      if (correction === undefined) throw new CliError(1, 'the sidecar is too old to put single rows right');
      return { kind: 'taken', id: correction };
    } catch (error) {
      if (!(error instanceof RefusedError) || error.faults.length === 0) throw error;
      return { kind: 'refused', reasons: reasonsOf(error.faults, keys.length) };
    }
  }

  async done(): Promise<ReadonlyMap<string, string>> {
    const { tablets } = await this.#view();
    return new Map(tablets.flatMap(({ tabletId, corrected }) => (corrected ? [[tabletId, corrected]] : [])));
  }
}

/** A fault that is not of one key (the tablet was dropped meanwhile, a key is too long to be asked for) is of all. */
function reasonsOf(faults: readonly BodyFault[], keys: number): ReadonlyMap<number, string> {
  const ofAll = faults.find(({ path }) => !KEY.test(path));
  if (ofAll) return new Map(Array.from({ length: keys }, (_, place) => [place, `${ofAll.path}: ${ofAll.message}`]));
  return new Map(faults.map(({ path, message }) => [Number(KEY.exec(path)![1]), message]));
}
