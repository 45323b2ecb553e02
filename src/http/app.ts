/**
 * The HTTP application: what happens to a request, from top to bottom. It knows how to parse, whom to ask and how to
 * answer; what is done with whose rows is below, in work/ and repositories/.
 */
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { Logger } from 'pino';
import type { Access } from '../access/wiring.ts';
import type { Config } from '../config.ts';
import type { ProductIsolation } from '../database/isolation.ts';
import type { SecurityLog } from '../log.ts';
import { watchUnauthorizedAccess } from '../work/unauthorized-access.ts';
import { requireAccessClass } from './access-class.ts';
import { registerAuthentication } from './authentication.ts';
import { bodyLimitBytes, registerBodyParsers } from './body.ts';
import { registerRateLimits } from './credential-limit.ts';
import { registerErrorHandling } from './error-reply.ts';
import { registerHiddenRowWatch } from './hidden-row.ts';
import { protocolOptions, registerProtocolChecks } from './protocol.ts';
import { collectOpenApi } from './reference/openapi.ts';
import { registerRequestIds, requestIdOf } from './request-id.ts';
import { registerRequestLog } from './request-log.ts';
import { administrationRoutes } from './routes/administration.ts';
import { agentRoutes } from './routes/agents.ts';
import { apiTokenRoutes } from './routes/api-tokens.ts';
import { authRoutes } from './routes/auth.ts';
import { branchRoutes } from './routes/branches.ts';
import { contextRoutes } from './routes/contexts.ts';
import { healthRoutes } from './routes/health.ts';
import { labelRoutes } from './routes/labels.ts';
import { projectRoutes } from './routes/projects.ts';
import { referenceRoutes } from './routes/reference.ts';
import { ruleRoutes } from './routes/rules.ts';
import { subtaskRoutes } from './routes/subtasks.ts';
import { taskActionRoutes } from './routes/task-actions.ts';
import { taskDependencyRoutes } from './routes/task-dependencies.ts';
import { taskOverviewRoutes } from './routes/task-overview.ts';
import { taskRoutes } from './routes/tasks.ts';
import { userRoutes } from './routes/user.ts';
import { registerSecurityHeaders } from './security-headers.ts';
import { registerContract } from './validation.ts';

export interface AppDependencies extends Access {
  readonly config: Config;
  readonly log: Logger;
  readonly securityLog: SecurityLog;
  readonly isolation: ProductIsolation;
}

export async function createApp(dependencies: AppDependencies): Promise<FastifyInstance> {
  const log: FastifyBaseLogger = dependencies.log;
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    // Lines name their request themselves; a logger for each request costs more than its one line.
    childLoggerFactory: (logger) => logger,
    genReqId: requestIdOf,
    bodyLimit: bodyLimitBytes,
    ...protocolOptions,
    trustProxy:
      typeof dependencies.config.trustProxy === 'boolean'
        ? dependencies.config.trustProxy
        : [...dependencies.config.trustProxy],
    routerOptions: { maxParamLength: 200, ignoreTrailingSlash: false },
  });
  await registerSecurityHeaders(app);
  registerRequestIds(app);
  registerErrorHandling(app);
  registerRequestLog(app, dependencies.log);
  registerHiddenRowWatch(app, watchUnauthorizedAccess(dependencies));
  registerProtocolChecks(app);
  registerBodyParsers(app);
  registerContract(app);
  requireAccessClass(app);
  const openApi = collectOpenApi(app);
  await registerRateLimits(app, dependencies.config);
  registerAuthentication(app, dependencies.authenticate, dependencies.securityLog);
  await app.register(healthRoutes, dependencies);
  await app.register(projectRoutes, dependencies);
  await app.register(branchRoutes, dependencies);
  await app.register(contextRoutes, dependencies);
  await app.register(agentRoutes, dependencies);
  await app.register(ruleRoutes, dependencies);
  await app.register(administrationRoutes, dependencies);
  await app.register(authRoutes, dependencies);
  await app.register(userRoutes, dependencies);
  await app.register(taskRoutes, dependencies);
  await app.register(taskOverviewRoutes, dependencies);
  await app.register(taskActionRoutes, dependencies);
  await app.register(taskDependencyRoutes, dependencies);
  await app.register(subtaskRoutes, dependencies);
  await app.register(labelRoutes, dependencies);
  await app.register(apiTokenRoutes, dependencies);
  await app.register(referenceRoutes, { openApi });
  return app;
}
