import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { KuduError, flagError, masterError, rpcError, tserverError, withNotRun } from '../../../src/kudu/errors.ts';
import { MasterErrorPBSchema } from '../../../src/kudu/proto/master_pb.ts';
import { ErrorStatusPBSchema } from '../../../src/kudu/proto/rpc_pb.ts';
import { TabletServerErrorPBSchema } from '../../../src/kudu/proto/tserver_pb.ts';
import { AppStatus, MasterErrorCode, RpcErrorCode, SetFlagCode, TserverErrorCode } from '../../../src/kudu/status.ts';

const tserver = (code: number, status: number) =>
  tserverError('h:1', 'Write', create(TabletServerErrorPBSchema, { code, status: { code: status, message: 'm' } }));
const master = (code: number, status: number) =>
  masterError('h:1', 'ListTables', create(MasterErrorPBSchema, { code, status: { code: status, message: 'm' } }));
const rpc = (code: number) => rpcError('h:1', 'Write', create(ErrorStatusPBSchema, { code, message: 'm' }));

describe('Kudu errors', () => {
  it('knows a follower by ILLEGAL_STATE, as it does not say NOT_THE_LEADER (kudu-facts 0.11)', () => {
    const error = tserver(TserverErrorCode.UNKNOWN_ERROR, AppStatus.ILLEGAL_STATE);
    assert.deepEqual([error.notLeader, error.retriable, error.notRun], [true, true, false]);
  });

  for (const [name, error, retriable] of [
    ['aborted by a new leader', tserver(TserverErrorCode.UNKNOWN_ERROR, AppStatus.ABORTED), true],
    ['bootstrapping', tserver(TserverErrorCode.TABLET_NOT_RUNNING, AppStatus.ILLEGAL_STATE), true],
    ['a stale location', tserver(TserverErrorCode.TABLET_NOT_FOUND, AppStatus.NOT_FOUND), true],
    ['a schema that changed', tserver(TserverErrorCode.MISMATCHED_SCHEMA, AppStatus.INVALID_ARGUMENT), false],
    ['history that is gone', tserver(TserverErrorCode.INVALID_SNAPSHOT, AppStatus.INVALID_ARGUMENT), false],
    ['a master that follows', master(MasterErrorCode.NOT_THE_LEADER, AppStatus.ILLEGAL_STATE), true],
    ['a table that is not there', master(MasterErrorCode.TABLE_NOT_FOUND, AppStatus.NOT_FOUND), false],
    ['a busy server', rpc(RpcErrorCode.ERROR_SERVER_TOO_BUSY), true],
    ['a name without the right', rpc(RpcErrorCode.ERROR_APPLICATION), false],
    ['a forgotten request', rpc(RpcErrorCode.ERROR_REQUEST_STALE), false],
  ] as const)
    it(`says of ${name} whether trying again helps: ${retriable}`, () => {
      assert.equal(error.retriable, retriable);
    });

  it('says of a busy server that the call did not run, and of a forgotten request that nobody knows', () => {
    assert.equal(rpc(RpcErrorCode.ERROR_SERVER_TOO_BUSY).notRun, true);
    assert.equal(rpc(RpcErrorCode.ERROR_REQUEST_STALE).notRun, false);
  });

  it('names codes that it knows and keeps the number of one that it does not', () => {
    assert.match(tserver(12, 9).message, /Write at h:1: TABLET_NOT_RUNNING, ILLEGAL_STATE: m/);
    assert.match(rpc(77).message, /77: m/);
    assert.equal(rpc(77).code, 77);
  });

  it('tells what a write that was refused as a whole met', () => {
    const names = (error: KuduError): string =>
      (['notLeader', 'locked', 'busy', 'notFound'] as const).filter((name) => error[name]).join();
    const { UNKNOWN_ERROR, TXN_LOCKED_ABORT, TXN_LOCKED_RETRY_OP, THROTTLED, TABLET_NOT_FOUND } = TserverErrorCode;
    assert.equal(names(tserver(UNKNOWN_ERROR, AppStatus.ILLEGAL_STATE)), 'notLeader');
    assert.equal(names(tserver(TXN_LOCKED_ABORT, AppStatus.ABORTED)), 'locked');
    assert.equal(names(tserver(TXN_LOCKED_RETRY_OP, AppStatus.ABORTED)), 'locked');
    assert.equal(names(tserver(THROTTLED, AppStatus.SERVICE_UNAVAILABLE)), 'busy');
    assert.equal(names(tserver(UNKNOWN_ERROR, AppStatus.SERVICE_UNAVAILABLE)), 'busy');
    assert.equal(names(rpc(RpcErrorCode.ERROR_SERVER_TOO_BUSY)), 'busy');
    assert.equal(names(rpc(RpcErrorCode.FATAL_UNAUTHORIZED)), '');
    assert.equal(names(master(MasterErrorCode.TABLE_NOT_FOUND, AppStatus.NOT_FOUND)), 'notFound');
    assert.equal(names(tserver(TABLET_NOT_FOUND, AppStatus.NOT_FOUND)), '', 'it may be on another server');
  });

  it('says of a call that was repeated until its end why it was', () => {
    const refused = tserver(TserverErrorCode.UNKNOWN_ERROR, AppStatus.ILLEGAL_STATE);
    assert.equal(new KuduError('timeout', 'out of time', { cause: refused }).lastCause, refused);
    const alone = new KuduError('timeout', 'no answer');
    assert.equal(alone.lastCause, alone);
    assert.equal(refused.lastCause, refused);
  });

  it('tells a user without the right from other trouble', () => {
    for (const error of [
      rpc(RpcErrorCode.ERROR_APPLICATION), // the service user's and superusers' calls (kudu-facts 1.4)
      rpc(RpcErrorCode.FATAL_UNAUTHORIZED),
      master(MasterErrorCode.NOT_AUTHORIZED, AppStatus.NOT_AUTHORIZED),
      tserver(TserverErrorCode.NOT_AUTHORIZED, AppStatus.NOT_AUTHORIZED),
    ])
      assert.equal(error.notAuthorized, true);
    const refused = flagError('h:1', 'a_flag', SetFlagCode.BAD_VALUE, 'm');
    for (const error of [rpc(RpcErrorCode.ERROR_SERVER_TOO_BUSY), tserver(1, 1), refused])
      assert.equal(error.notAuthorized, false);
    assert.deepEqual([refused.retriable, refused.notRun], [false, true]);
    assert.match(refused.message, /SetFlag a_flag at h:1: BAD_VALUE: m/);
  });

  it('keeps all else when it changes its word on having run', () => {
    const error = withNotRun(tserver(12, 9), true);
    assert.deepEqual([error.code, error.status, error.address, error.notRun], [12, 9, 'h:1', true]);
  });
});
