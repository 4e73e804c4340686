export { type Backing, type NativeHelper, nativeHelper, probeKernel } from './native.ts';
export { type Helper, nativeProgram, startHelper } from './native-process.ts';
