import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { auditLogger, createLogger } from '../../../src/cli/logger.ts';
import { SecretMask } from '../../../src/util/secret-mask.ts';
import type { Logger } from '../../../src/util/logger.ts';

function logged(secrets: string[], say: (logger: Logger) => void): string[] {
  const lines: string[] = [];
  say(
    createLogger({
      level: 'info',
      mask: new SecretMask(...secrets),
      destination: { write: (line) => void lines.push(line) },
    }),
  );
  return lines;
}

describe('createLogger', () => {
  it('writes JSON lines with a time and a level that people read', () => {
    const [line, ...more] = logged([], (logger) => {
      logger.debug({}, 'not at this level');
      logger.child({ stream: 'orders' }).info({ opId: '7.1' }, 'base copy finished');
    });
    assert.deepEqual(more, []);
    const { time, level, stream, opId, msg } = JSON.parse(line!) as Record<string, string>;
    assert.deepEqual([level, stream, opId, msg], ['info', 'orders', '7.1', 'base copy finished']);
    assert.match(time!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it('takes secrets out of whatever brings them along', () => {
    const secrets = ['hunter2', 'p"w\nd', 'a/b=c'];
    const lines = logged(secrets, (logger) => {
      logger.info({ config: { token: 'hunter2' } }, 'read hunter2');
      logger.warn({ err: new Error('connect redis://u:a%2Fb%3Dc@cache failed') }, 'sink failed');
      logger.error({ password: 'p"w\nd' }, 'refused');
    });
    assert.equal(lines.length, 3);
    for (const secret of [...secrets, 'a%2Fb%3Dc', 'p\\"w\\nd']) assert.ok(!lines.join('').includes(secret), secret);
    assert.equal((JSON.parse(lines[0]!) as { msg: string }).msg, 'read ***');
  });
});

describe('auditLogger', () => {
  const LEVELS = [
    ['trace', ['asked', 'changed']],
    ['warn', ['changed']],
    ['fatal', ['changed']],
    ['silent', []],
  ] as const;
  for (const [level, expected] of LEVELS)
    it(`writes ${expected.join(' and ') || 'nothing'} at level ${level}, without secrets`, () => {
      const lines: string[] = [];
      const mask = new SecretMask();
      const logger = createLogger({ level, mask, destination: { write: (line) => void lines.push(line) } });
      const audit = auditLogger(logger);
      mask.add('hunter2'); // one that came later
      logger.info({}, 'asked');
      audit.info({ by: 'hunter2' }, 'changed');
      assert.deepEqual(
        lines.map((line) => (JSON.parse(line) as { msg: string }).msg),
        expected,
      );
      assert.ok(!lines.join('').includes('hunter2'));
    });
});

describe('SecretMask', () => {
  it('takes out a key in PEM line by line, and leaves its frame', () => {
    const line = 'MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg';
    const mask = new SecretMask(`-----BEGIN PRIVATE KEY-----\n${line}\nAB==\n-----END PRIVATE KEY-----\n`);
    assert.equal(mask.apply(`of ${line}: -----BEGIN PRIVATE KEY-----`), 'of ***: -----BEGIN PRIVATE KEY-----');
  });
});
