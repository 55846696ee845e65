import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FolderError } from '../../../src/keeping/server-folders.ts';
import { askedOf, checkMembership, startTrouble } from '../../../src/app/start-trouble.ts';
import { KuduError } from '../../../src/kudu/errors.ts';
import { RpcErrorCode } from '../../../src/kudu/status.ts';

const signal = new AbortController().signal;

describe('why a sidecar cannot begin', () => {
  it('names the setting, and what to do where Kudu refused', async () => {
    const refused = new KuduError('rpc', 'unauthorized access to method: GetStatus', {
      code: RpcErrorCode.ERROR_APPLICATION,
      method: 'GetStatus',
    });
    await assert.rejects(
      askedOf('SPOOR_TSERVER a:7050', Promise.reject(refused)),
      /^Error: SPOOR_TSERVER a:7050: unauthorized access to method: GetStatus\. GetStatus takes the right: user\..*SPOOR_KUDU_USER.*--user_acl/,
    );
  });

  it('does not tell anybody to do something about a server that is only away', async () => {
    const away = askedOf('SPOOR_KUDU_MASTERS a:7051', Promise.reject(new KuduError('network', 'connection refused')));
    await assert.rejects(away, { message: 'SPOOR_KUDU_MASTERS a:7051: connection refused' });
  });

  it('is that the masters are of another cluster', async () => {
    const client = { listTabletServers: () => Promise.resolve([{ uuid: 'b' } as never]) };
    await checkMembership(client, { address: 'b:7050', uuid: 'b' }, signal);
    await assert.rejects(
      checkMembership(client, { address: 'a:7050', uuid: 'a' }, signal),
      /SPOOR_KUDU_MASTERS do not know the tablet server of SPOOR_TSERVER a:7050/,
    );
  });

  it('is a matter of the log where a folder is wrong', () => {
    assert.deepEqual(startTrouble(new FolderError('wrong')), { part: 'wal', reason: 'wrong' });
    assert.deepEqual(startTrouble(new Error('away')), { part: 'kudu', reason: 'away' });
  });
});
