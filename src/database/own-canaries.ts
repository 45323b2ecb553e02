/** Canary users in our own schema: nobody can log in as them, and nothing made up goes into what is evidence. */
import type { PlantRules } from '../rollout/canary/plant.ts';

export const ownCanaries: PlantRules = {
  fixed: { 'public.users': { status: 'quarantine', password_hash: null } },
  leave: {
    'public.sessions': 'a session would be a way in',
    'public.api_tokens': 'a token would be a way in',
    'public.idempotency_keys': 'it holds answers to requests that were made',
    'public.user_access_log': 'the log is evidence of what was done',
  },
};
