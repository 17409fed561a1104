// What a job type of Flamenco 3 finds in the Manager, written from its API: author, path, shellSplit, print.

var author = {
    Task: function (name, type) {
        if (!String(name).trim() || !String(type).trim()) { throw "author.Task(name, type): both are required"; }
        var task = { name: String(name).trim(), type: String(type).trim(), commands: [], dependencies: [] };
        task.addCommand = function (command) { task.commands.push(command); };
        task.addDependency = function (other) { task.dependencies.push(other.name); };
        return task;
    },
    Command: function (name, parameters) { return { name: name, parameters: parameters }; }
};
var path = {
    basename: function (file) { return file.split(/[\\/]/).pop(); },
    stem: function (file) { return path.basename(file).replace(/\.[^.]*$/, ""); },
    join: function () { return Array.prototype.slice.call(arguments).join("/").replace(/\/+/g, "/"); }
};
function shellSplit(text) {
    var words = text.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) || [];
    return words.map(function (word) { return word.replace(/["']/g, ""); });
}
function print() {}
function compiled(settings) {
    var job = { name: "job", settings: settings, tasks: [] };
    job.addTask = function (task) { job.tasks.push(task); };
    compileJob(job);
    return job.tasks.map(function (task) {
        return { name: task.name, type: task.type, commands: task.commands, dependencies: task.dependencies };
    });
}
