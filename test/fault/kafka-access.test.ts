import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { KafkaAccessInForce } from '../../src/app/kafka-access.ts';
import { SecretMask } from '../../src/util/secret-mask.ts';
import { eventually } from '../support/eventually.ts';
import { keepingLogger, type LogLine } from '../support/loggers.ts';
import { TestAuthority } from '../support/test-authority.ts';

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'spoor-kafka-access-'));
});
after(() => rm(dir, { recursive: true }));

it('certificate and key follow their files together, and what cannot be used is told and left alone', async () => {
  const authority = await TestAuthority.create(dir, 'ca');
  const [first, second] = [await authority.issue('first'), await authority.issue('second')];
  const files = { cert: join(dir, 'client.pem'), key: join(dir, 'client.key') };
  const text = async (pair: typeof first) => ({
    cert: (await readFile(pair.cert, 'utf8')).trimEnd(),
    key: (await readFile(pair.key, 'utf8')).trimEnd(),
  });
  const [one, two] = [await text(first), await text(second)];
  await Promise.all([copyFile(first.cert, files.cert), copyFile(first.key, files.key)]);
  const lines: LogLine[] = [];
  const [logger, mask] = [keepingLogger(lines), new SecretMask(one.key)];
  await using access = new KafkaAccessInForce(
    {
      tls: one,
      sasl: null,
      files: { SPOOR_KAFKA_SSL_CERT: files.cert, SPOOR_KAFKA_SSL_KEY: files.key },
    },
    { kerberos: undefined, mask, logger },
  );
  const told = (words: string): Promise<true> => eventually(words, () => JSON.stringify(lines).includes(words) || null);

  await copyFile(second.cert, files.cert);
  await told('SPOOR_KAFKA_SSL_KEY is not the key of SPOOR_KAFKA_SSL_CERT');
  assert.deepEqual(access.tls(), one);
  await writeFile(files.key, 'no key at all');
  await told('is no value of SPOOR_KAFKA_SSL_KEY');
  await rm(files.key);
  await told('cannot be read');
  assert.deepEqual(access.tls(), one);
  await copyFile(second.key, files.key);
  await told('are in force');
  assert.deepEqual(access.tls(), two);
  const line = two.key.split('\n')[3]!;
  assert.equal(mask.apply(`quoted: ${line}`), 'quoted: ***');
});
