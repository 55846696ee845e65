import { pino, type DestinationStream, type Logger } from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { LogLevel } from '../config/config.ts';
import type { SecretMask } from '../util/secret-mask.ts';
import { LogOutput } from './log-output.ts';

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Takes out of every line what must not appear there, whatever message brings it along. */
  readonly mask: SecretMask;
  /** Where lines go; standard output when left out: pretty on a terminal, else JSON. */
  readonly destination?: DestinationStream;
}

/** The program's log. A secret is taken out by its value, as errors of libraries quote what they were given. */
export function createLogger({ level, mask, destination }: LoggerOptions): Logger {
  return pino(
    {
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: mask.apply },
    },
    destination ?? standardOutput(),
  );
}

/** For lines that say who changed what: they are written at every level but `silent`. */
export function auditLogger(logger: Logger): Logger {
  return logger.child({}, logger.isLevelEnabled('info') || logger.level === 'silent' ? {} : { level: 'info' });
}

/** For people on a terminal, else for machines. */
function standardOutput(): DestinationStream {
  const { write } = new LogOutput(process.stdout);
  if (!process.stdout.isTTY) return { write };
  const pretty = prettyFactory({ colorize: true, ignore: 'pid,hostname' });
  return {
    write: (line) => {
      write(pretty(line));
    },
  };
}
