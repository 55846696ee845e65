import { loadConfig, secretsOf } from '../config/config.ts';
import type { CliContext } from './cli-context.ts';
import { SecretMask } from '../util/secret-mask.ts';
import { auditLogger, createLogger } from './logger.ts';
import { StopSignals, tellStraySignals } from './stop-signals.ts';

/** Contract 3: SIGTERM ends within 10 s. A little is left for the process itself to end. */
const STOP_LIMIT_MS = 9_500;

/**
 * `spoor run`: the sidecar, until a signal.
 * @returns exit code: 0 after an orderly stop, 1 when it failed or did not stop in time, 2 for a wrong configuration
 */
export async function runCommand({ err: writeError, env, cwd }: CliContext): Promise<number> {
  const loaded = loadConfig(env, cwd);
  if ('faults' in loaded) {
    writeError(loaded.faults.map((fault) => `${fault}\n`).join(''));
    return 2;
  }
  const { config } = loaded;
  const mask = new SecretMask(...secretsOf(config));
  const logger = createLogger({ level: config.logLevel, mask });
  const audit = auditLogger(logger);
  tellStraySignals((signalName) => {
    logger.warn({ signal: signalName }, 'a signal that means nothing to a sidecar: it goes on');
  });
  // Whatever nobody caught leaves parts in a state that nobody knows: end, and start anew from what is durable.
  process.on('uncaughtException', (err) => {
    logger.fatal({ err }, 'unexpected error, ending');
    process.exit(1);
  });
  using stop = new StopSignals({
    limitMs: STOP_LIMIT_MS,
    onLimit: (signalName) => {
      logger.fatal({ signal: signalName, limitMs: STOP_LIMIT_MS }, 'did not stop in time, ending');
      process.exit(1);
    },
    onSecond: (signalName) => {
      logger.fatal({ signal: signalName }, 'second signal, ending at once');
      process.exit(1);
    },
  });
  stop.signal.addEventListener('abort', () => {
    const reason: unknown = stop.signal.reason;
    logger.info({ reason: reason instanceof Error ? reason.message : String(reason) }, 'stopping');
  });
  try {
    const { runSidecar } = await loadApp();
    await runSidecar(config, { logger, audit, mask, signal: stop.signal });
    return 0;
  } catch (err) {
    logger.fatal({ err }, 'sidecar failed');
    return 1;
  }
}

/** Kudu, Kafka and HTTP are loaded by this command alone. (Apart: tsc leaves an import in a scope with `using` as it is.) */
function loadApp(): Promise<typeof import('../app/run-sidecar.ts')> {
  return import('../app/run-sidecar.ts');
}
