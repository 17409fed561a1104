// Flamenco job type: fit or bake the materials of objects of the .blend with PBRfit.
//
// Copy it to the folder "scripts" beside flamenco-manager, and give flamenco-manager.yaml a variable "pbrfit", the path of
// PBRfit's command on the workers; docs/scale.md shows how. ECMAScript 5.1, which every Flamenco 3 runs.

var JOB_TYPE = {
    label: "PBRfit",
    description: "Fit one clean physically based material to each object, or bake what its nodes say",
    settings: [
        { key: "command", type: "string", choices: ["optimize", "bake"], default: "optimize", required: true,
          description: "Fit the materials, or bake what their nodes say without a fit" },
        { key: "objects", type: "string", default: "",
          eval: "'; '.join(o.name for o in C.selected_objects if o.type == 'MESH')",
          evalInfo: { showLinkButton: true, description: "Selected mesh objects" },
          description: "Names of mesh objects, separated by semicolons. In a name, * stands for any letters and ? for one" },
        { key: "collection", type: "string", default: "",
          description: "Do every mesh object with a material in this collection too" },
        { key: "preset", type: "string", choices: ["draft", "standard", "high"], default: "standard",
          description: "Views, samples, resolution and quality of a fit; a bake ignores it" },
        { key: "resolution", type: "string", default: "",
          description: "Width and height of the maps in pixels, such as 2048 or 2048x1024. Empty: that of the preset, and 1024 for a bake" },
        { key: "results", type: "string", subtype: "dir_path", required: true, visible: "submission",
          eval: "str(abspath('//fitted'))",
          description: "Folder for the results, which all workers reach; each object gets a folder FILE/OBJECT in it" },
        { key: "objects_per_task", type: "int32", default: 1, propargs: { min: 1, max: 1000 }, visible: "submission",
          description: "So many named objects share a Blender, which starts once for them" },
        { key: "parts", type: "int32", default: 4, propargs: { min: 1, max: 1000 }, visible: "submission",
          description: "With a collection, or * or ? in a name: so many tasks share the objects" },
        { key: "options", type: "string", default: "", visible: "submission",
          description: "Further options as on PBRfit's command line, for example: --map-sets object --no-report" },
        { key: "blendfile", type: "string", required: true, visible: "web", description: "The file with the objects" }
    ]
};

function compileJob(job) {
    var settings = job.settings;
    var names = objectNames(settings.objects || "");
    if (!names.length && !settings.collection) {
        throw "Select mesh objects or name them, or name a collection.";
    }
    var pattern = settings.collection || names.some(function (name) { return /[*?]/.test(name); });
    var tasks = pattern ? partTasks(settings, names) : namedTasks(settings, names);
    tasks.forEach(function (task) { job.addTask(task); });
}

function objectNames(text) {
    var names = text.split(";").map(function (name) { return name.trim(); });
    return names.filter(function (name, number) { return name && names.indexOf(name) === number; });
}

// A task for each few objects, whose names it has.
function namedTasks(settings, names) {
    var size = Math.max(settings.objects_per_task || 1, 1);
    var tasks = [];
    for (var first = 0; first < names.length; first += size) {
        var some = names.slice(first, first + size);
        tasks.push(pbrfitTask(settings, some.join("; "), some, []));
    }
    return tasks;
}

// Tasks that share objects which nobody has looked up yet.
function partTasks(settings, names) {
    var count = Math.max(settings.parts || 1, 1);
    var tasks = [];
    for (var number = 1; number <= count; number++) {
        tasks.push(pbrfitTask(settings, "part " + number + " of " + count, names, ["--part", number + "/" + count]));
    }
    return tasks;
}

function pbrfitTask(settings, title, names, more) {
    var file = path.stem(settings.blendfile).replace(/\.flamenco$/, "");
    var args = [settings.command, settings.blendfile];
    names.forEach(function (name) { args.push("--object=" + name); });
    if (settings.collection) {
        args.push("--collection=" + settings.collection);
    }
    // With --at-once a single object is a batch too: what is up to date is left, and a result appears when it is whole.
    args.push("--out", path.join(settings.results, file, "{object}"), "--at-once", "1");
    if (settings.command === "optimize") {
        args.push("--preset", settings.preset);
    }
    if (settings.resolution) {
        args.push("--resolution", settings.resolution);
    }
    args = args.concat(more, settings.options ? shellSplit(settings.options) : []);
    var task = author.Task(settings.command + " " + title, "blender");
    task.addCommand(author.Command("exec", { exe: "{pbrfit}", args: args }));
    return task;
}
