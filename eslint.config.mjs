// For `npx eslint fusion_nb/static`: the scripts of the widgets. No plug-in is needed.

const browser = ["document", "setTimeout", "performance", "Blob", "URL", "MutationObserver"];

export default [
  {
    files: ["fusion_nb/static/*.js"],
    languageOptions: {
      ecmaVersion: "latest",
      sourceType: "module",
      globals: Object.fromEntries([...browser, "ResizeObserver"].map((name) => [name, "readonly"])),
    },
    rules: {
      "no-undef": "error",
      "no-unused-vars": "error",
      "no-redeclare": "error",
      "no-shadow": "error",
      "no-var": "error",
      "prefer-const": "error",
      eqeqeq: "error",
      "no-unreachable": "error",
      "no-dupe-keys": "error",
      "consistent-return": "error",
    },
  },
];
