// Uploads a file with tus-js-client, or goes on with an upload that it began before.
// Says "chunk" after each chunk, so that a test can end it in the middle.
//
// Arguments: the folder of the package, then options as JSON.

const fs = require("node:fs");
const path = require("node:path");

const [folder, text] = process.argv.slice(2);
const tus = require(path.join(folder, "node_modules", "tus-js-client"));
const options = JSON.parse(text);

const pause = () => new Promise((resolve) => setTimeout(resolve, options.pauseMilliseconds));

// Of a stream that it sends in chunks, this client never says that the last one is the last.
const inDraft = options.protocol !== "tus-v1";
const source = inDraft ? fs.readFileSync(options.file) : fs.createReadStream(options.file);

const upload = new tus.Upload(source, {
  endpoint: options.endpoint,
  protocol: options.protocol,
  chunkSize: options.chunkSize,
  parallelUploads: options.parallelUploads,
  metadata: { filename: options.name },
  retryDelays: null,
  urlStorage: new tus.FileUrlStorage(options.storage),
  onBeforeRequest: pause,
  onChunkComplete: () => console.log("chunk"),
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess: () => console.log("done"),
});

upload.findPreviousUploads().then((previous) => {
  if (previous.length > 0) {
    console.log("resumed");
    upload.resumeFromPreviousUpload(previous[0]);
  }
  upload.start();
});
