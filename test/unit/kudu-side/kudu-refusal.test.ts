import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { askKudu } from '../../../src/kudu-side/ask-kudu.ts';
import { rowRefused } from '../../../src/kudu-side/kudu-refusal.ts';
import { toProblem } from '../../../src/control/problem.ts';
import { KuduError, type KuduErrorDetails, type KuduErrorKind } from '../../../src/kudu/errors.ts';
import { AppStatus, MasterErrorCode, RpcErrorCode, SecurityFault, TserverErrorCode } from '../../../src/kudu/status.ts';

describe('what Kudu refuses', () => {
  const CASES: [KuduErrorKind, KuduErrorDetails, number, RegExp][] = [
    ['usage', { status: AppStatus.INVALID_ARGUMENT }, 502, /max_cell_size_bytes/],
    ['usage', { status: AppStatus.NOT_FOUND }, 502, /is gone/],
    ['usage', {}, 503, /ask again later/],
    ['rpc', { code: RpcErrorCode.ERROR_APPLICATION }, 502, /SPOOR_KUDU_USER/],
    ['rpc', { code: RpcErrorCode.FATAL_UNAUTHORIZED, method: 'negotiation' }, 502, /SPOOR_KUDU_ENCRYPTION/],
    ['rpc', { code: RpcErrorCode.FATAL_INVALID_JWT, method: 'negotiation' }, 503, /SPOOR_KUDU_JWT/],
    ['security', { code: SecurityFault.KERBEROS_LIBRARY }, 503, /npm install koffi.*libgssapi-krb5-2/],
    ['security', { code: SecurityFault.NO_TICKET }, 503, /SPOOR_KUDU_KEYTAB/],
    ['security', { code: SecurityFault.NO_TLS }, 502, /SPOOR_KUDU_ENCRYPTION/],
    ['timeout', { cause: new KuduError('security', 'no', { code: SecurityFault.NO_TICKET }) }, 503, /KEYTAB/],
    ['rpc', { code: RpcErrorCode.ERROR_NO_SUCH_METHOD }, 502, /another version/],
    ['rpc', { code: RpcErrorCode.ERROR_SERVER_TOO_BUSY }, 503, /ask again later/],
    ['master', { code: MasterErrorCode.NOT_AUTHORIZED }, 502, /SPOOR_KUDU_USER/],
    ['master', { code: MasterErrorCode.TABLE_NOT_FOUND }, 502, /is gone/],
    ['master', { code: MasterErrorCode.EVEN_REPLICATION_FACTOR }, 502, /SPOOR_SYSTEM_TABLE_REPLICAS/],
    ['tserver', { code: TserverErrorCode.NOT_AUTHORIZED }, 502, /SPOOR_KUDU_USER/],
    ['tserver', { code: TserverErrorCode.MISMATCHED_SCHEMA }, 502, /other columns/],
    ['tserver', { code: TserverErrorCode.UNKNOWN_ERROR, status: AppStatus.INVALID_ARGUMENT }, 502, /limit/],
    ['tserver', { code: TserverErrorCode.UNKNOWN_ERROR, status: AppStatus.IO_ERROR }, 502, /into its log/],
    ['protocol', {}, 502, /says more/],
    ['timeout', { cause: new KuduError('tserver', 'no', { code: TserverErrorCode.NOT_AUTHORIZED }) }, 502, /USER/],
  ];
  for (const [kind, details, status, remedy] of CASES)
    it(`(${kind} ${JSON.stringify(details)}) has the remedy of its cause`, async () => {
      const failing = askKudu(() => Promise.reject(new KuduError(kind, 'what Kudu said', details)));
      const { problem } = toProblem(await failing.catch((error: unknown) => error));
      assert.equal(problem.status, status);
      assert.match(problem.remedy ?? '', remedy);
      assert.equal(problem.detail, 'what Kudu said');
    });

  it('of a row, by its status', () => {
    assert.match(rowRefused('too large', AppStatus.INVALID_ARGUMENT).remedy, /max_cell_size_bytes/);
    assert.match(rowRefused('never seen', 4711).remedy, /says more/);
  });
});
