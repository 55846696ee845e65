import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { missingRight } from '../../../src/kudu-side/missing-right.ts';
import { KuduError, type KuduErrorKind } from '../../../src/kudu/errors.ts';

describe('a right that is missing', () => {
  const CASES: [KuduErrorKind, string, RegExp][] = [
    ['rpc', 'GetConsensusState', /service user or superuser\..*--superuser_acl.*SPOOR_KUDU_USER/],
    ['rpc', 'GetLastOpId', /service user or superuser\./],
    ['rpc', 'GetFlags', /right: superuser\..*--superuser_acl/],
    ['rpc', 'SetFlag', /right: superuser\./],
    ['rpc', 'ListTablets', /right: superuser\./],
    ['rpc', 'ConnectToMaster', /right: user\..*--user_acl/],
    ['rpc', 'GetStatus', /right: user\..*--user_acl/],
    ['rpc', 'Write', /INSERT, UPDATE or DELETE.*Ranger.*--trusted_user_acl/],
    ['rpc', 'Scan', /SELECT on the table.*--trusted_user_acl/],
    ['master', 'GetTableSchema', /METADATA on the table.*--trusted_user_acl/],
    ['master', 'CreateTable', /CREATE on the database/],
    ['tserver', 'ListTablets', /right: superuser\./],
  ];
  for (const [kind, method, text] of CASES)
    it(`of ${kind} ${method} is told with what gives it`, () => {
      const told = missingRight(new KuduError(kind, 'Not authorized', { method }));
      assert.ok(told.startsWith(`${method} takes the right: `), told);
      assert.match(told, text);
    });
});
