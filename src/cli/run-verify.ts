import { streamView, type StreamView } from '../api/shapes.ts';
import { decoderFor, selectionFor } from '../app/formats.ts';
import { Registries } from '../app/registries.ts';
import { Sinks } from '../app/sinks.ts';
import type { SinkReader } from '../sinks/reader.ts';
import { SinkError } from '../sinks/sink.ts';
import type { ServersConfig } from '../config/client-config.ts';
import { KuduClient } from '../kudu/client.ts';
import { repair, WrongRows, type RepairOutcome } from '../verify/repair.ts';
import {
  differenceToJson,
  differenceToText,
  repeatedToJson,
  repeatedToText,
  skippedToJson,
  skippedToText,
  summaryToJson,
  summaryToText,
  unreadableToJson,
  unreadableToText,
} from '../verify/report.ts';
import { KuduTableReader } from '../verify/table-rows.ts';
import { isSound, verify, type VerifyResult } from '../verify/verify.ts';
import { StreamUnavailableError, VerifyError } from '../verify/verify-error.ts';
import { expectShape, type ApiClient } from './api-client.ts';
import { streamPath } from './api-commands.ts';
import type { CliContext } from './cli-context.ts';
import { CliError, UnavailableError } from './cli-error.ts';
import { createLogger } from './logger.ts';
import { Progress } from './progress.ts';
import { SecretMask } from '../util/secret-mask.ts';
import { ApiCorrector } from './verify-corrector.ts';

/** What is asked of {@link runVerify}, checked. */
export interface VerifyRequest {
  readonly name: string;
  readonly tableNames: readonly string[] | null;
  readonly at: bigint | null;
  /** 0: all. */
  readonly maxRows: number;
  readonly timeoutMs: number;
  readonly repairs: boolean;
  /** Null: as the stream's delivery says. */
  readonly allowsRepeats: boolean | null;
  readonly json: boolean;
}

export interface VerifySurroundings {
  readonly client: ApiClient;
  readonly servers: ServersConfig;
  readonly context: CliContext;
  readonly signal: AbortSignal;
}

/** Of a call in which Kudu has to find a leader, or a time that all servers have reached. */
const KUDU_TIMEOUT_MS = 60_000;

/** @returns exit code: 0 where the records are the tables, 1 where not */
export async function runVerify(request: VerifyRequest, around: VerifySurroundings): Promise<0 | 1> {
  try {
    return await run(request, around);
  } catch (error) {
    if (error instanceof VerifyError) throw new CliError(error.kind === 'usage' ? 2 : 1, error.message, error);
    throw error;
  }
}

async function run(request: VerifyRequest, { client, servers, context, signal }: VerifySurroundings): Promise<0 | 1> {
  const stream = async (): Promise<StreamView> => viewOf(client, request.name);
  const definition = await stream();
  const mask = new SecretMask(...servers.secrets);
  const logger = createLogger({
    level: 'warn',
    mask,
    destination: { write: context.err },
  });
  const selection = await selectionFor(definition).catch((error: unknown) => {
    if (error instanceof SinkError) throw new CliError(2, error.message, error);
    throw error;
  });
  await using sinks = new Sinks(servers, { mask, logger });
  await using sink = readerOf(sinks, definition);
  using registries = new Registries(servers.registry, logger);
  const decoder = decoderFor(definition, registries);
  using kudu = await KuduClient.connect({ ...servers.kudu, timeoutMs: KUDU_TIMEOUT_MS, signal });
  using progress = new Progress(context);
  const tell = (words: string, share: number | null = null): void => {
    progress.show({ share, words: words.split('\n', 1)[0]! }, share === null ? '' : words.split(':', 1)[0]);
  };
  const print = (line: string): void => {
    progress.clear();
    context.out(`${line}\n`);
  };
  const isShown = (place: number): boolean => request.maxRows === 0 || place <= request.maxRows;
  const pass = async (
    at: bigint | null,
    repaired: RepairOutcome | null,
  ): Promise<{ result: VerifyResult; wrong: WrongRows }> => {
    const wrong = new WrongRows();
    let rows = 0;
    let unreadable = 0;
    let repeated = 0;
    const options = {
      stream,
      reader: new KuduTableReader(kudu),
      sink,
      decoder,
      selection,
      namesRows: request.repairs,
      at,
      tableNames: request.tableNames,
      systemTablePrefix: servers.systemTablePrefix,
      timeoutMs: request.timeoutMs,
      allowsRepeats: request.allowsRepeats,
      progress: tell,
    };
    const result = await verify(
      {
        ...options,
        report: (difference) => {
          if (request.repairs) wrong.add(difference);
          if (isShown(++rows)) print((request.json ? differenceToJson : differenceToText)(difference));
        },
        reportRepeated: (row) => {
          if (isShown(++repeated)) print((request.json ? repeatedToJson : repeatedToText)(row));
        },
        reportUnreadable: (record) => {
          if (isShown(++unreadable)) print((request.json ? unreadableToJson : unreadableToText)(record));
        },
      },
      signal,
    );
    const notes = {
      shown: request.maxRows === 0 ? rows : Math.min(rows, request.maxRows),
      repair: repaired && { repaired: repaired.repaired, skipped: repaired.skipped.length },
    };
    print((request.json ? summaryToJson : summaryToText)(result, notes));
    return { result, wrong };
  };

  const first = await pass(request.at, null);
  if (isSound(first.result)) return 0;
  if (!request.repairs || first.wrong.count === 0) return 1;
  const corrector = new ApiCorrector(client, request.name, stream);
  const { timeoutMs } = request;
  const repaired = await repair(first.wrong, corrector, { timeoutMs, progress: tell }, signal);
  for (const [place, row] of repaired.skipped.entries())
    if (isShown(place + 1)) print((request.json ? skippedToJson : skippedToText)(row));
  const second = await pass(null, repaired);
  return isSound(second.result) && repaired.skipped.length === 0 ? 0 : 1;
}

function readerOf(sinks: Sinks, definition: StreamView): SinkReader {
  try {
    return sinks.reader(definition);
  } catch (error) {
    if (error instanceof SinkError) throw new CliError(2, error.message, error);
    throw error;
  }
}

async function viewOf(client: ApiClient, name: string): Promise<StreamView> {
  try {
    return expectShape(streamView, await client.call('GET', streamPath(name)));
  } catch (error) {
    if (error instanceof UnavailableError) throw new StreamUnavailableError(error.message, { cause: error });
    throw error;
  }
}
