import { testLifecycles } from './lifecycle-suite.ts';
import { shapes } from './shapes/all.ts';

testLifecycles(shapes.slice(0, 5));
