// Runs a .tflite file in LiteRT.js, in Node: node litert_web.mjs JOB.json
//
// The job has `packages` (the node_modules folder), `model` (file), `inputs` and `outputs` (files of raw tensor values,
// one image after another), `type` (float32, uint8 or int8, of the input) and `shape` (of one input).
//
// LiteRT.js is made for web pages: it loads its WebAssembly through a script tag or, in a worker, `importScripts`. This
// script makes Node look like a worker.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { compileFunction } from "node:vm";

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, int8: Int8Array };

globalThis.self = globalThis;
globalThis.importScripts = (path) => {
  const script = `${readFileSync(path, "utf8")}\nreturn ModuleFactory;`;
  const load = compileFunction(script, ["require", "__filename", "__dirname"], { filename: path });
  self.ModuleFactory = load(createRequire(path), path, dirname(path));
};

async function main(job) {
  const core = join(job.packages, "@litertjs", "core");
  const { loadLiteRt, loadAndCompile, Tensor } = await import(pathToFileURL(join(core, "dist", "index.js")));
  await loadLiteRt(join(core, "wasm"));
  const model = await loadAndCompile(new Uint8Array(readFileSync(job.model)), { accelerator: "wasm" });
  const values = new ARRAYS[job.type](new Uint8Array(readFileSync(job.inputs)).buffer);
  const length = job.shape.reduce((product, side) => product * side);
  const outputs = [];
  for (let start = 0; start < values.length; start += length) {
    const input = new Tensor(values.slice(start, start + length), job.shape);
    const [output] = await model.run([input]);
    const data = await output.data();
    outputs.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
    input.delete();
    output.delete();
  }
  writeFileSync(job.outputs, Buffer.concat(outputs));
}

main(JSON.parse(readFileSync(process.argv[2], "utf8"))).then(
  () => process.exit(0),
  (error) => {
    console.error(`${error.name}: ${error.message}`);
    process.exit(1);
  },
);
