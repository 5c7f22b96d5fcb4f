#include "bindings/shortcut.hpp"

#include <structmember.h>

#include <cstddef>

#include "bindings/call_function.hpp"
#include "bindings/repeated_calls.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

/// As Python lays it out.
struct Shortcut {
    PyObject_HEAD;
    vectorcallfunc call;
    PyObject* method;
    /// What functools.update_wrapper() says of the method.
    PyObject* attributes;
    /// Of the type whose method was called last: its version, of which no two types have the same
    /// and which changes with it (0: none), and where its objects have the slot of their call
    /// function.
    unsigned int version;
    Py_ssize_t offset;
};

Shortcut& of(PyObject* self) { return *reinterpret_cast<Shortcut*>(self); }

PyObject* slot_name() {
    static PyObject* const name = PyUnicode_InternFromString("_call");
    return name;
}

/// Looks whether the objects of a type have their call function in a slot.
bool find_slot(Shortcut& shortcut, PyTypeObject* type) {
    shortcut.version = 0;
    if (type->tp_getattro != PyObject_GenericGetAttr) return false;
    const auto found = py::reinterpret_steal<py::object>(
        PyObject_GetAttr(reinterpret_cast<PyObject*>(type), slot_name()));
    if (!found) {
        PyErr_Clear();
        return false;
    }
    if (Py_TYPE(found.ptr()) != &PyMemberDescr_Type) return false;
    const auto& slot = *reinterpret_cast<PyMemberDescrObject*>(found.ptr());
    // Anything can be put into a class, also a slot of another one.
    if (PyType_IsSubtype(type, slot.d_common.d_type) == 0) return false;
    const PyMemberDef& member = *slot.d_member;
    if (member.type != T_OBJECT_EX) return false;
    shortcut.version = type->tp_version_tag;
    shortcut.offset = member.offset;
    return shortcut.version != 0;
}

/// What makes the calls of an object; null if nothing does yet.
py::object call_function_in(Shortcut& shortcut, PyObject* object) {
    PyTypeObject* const type = Py_TYPE(object);
    const bool is_known = shortcut.version != 0 && shortcut.version == type->tp_version_tag;
    if (is_known || find_slot(shortcut, type)) {
        return py::reinterpret_borrow<py::object>(
            *reinterpret_cast<PyObject**>(reinterpret_cast<char*>(object) + shortcut.offset));
    }
    auto function = py::reinterpret_steal<py::object>(PyObject_GetAttr(object, slot_name()));
    if (!function) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) throw py::error_already_set();
        PyErr_Clear();
    }
    return function;
}

/// `objects` begin with that whose method it is.
py::object call_method(PyObject* self, PyObject* const* objects, std::size_t count,
                       PyObject* names) {
    const auto method = py::reinterpret_borrow<py::object>(of(self).method);
    if (!method) throw py::type_error("this shortcut is being collected");
    const auto call = [&] {
        return py::reinterpret_steal<py::object>(
            PyObject_Vectorcall(method.ptr(), objects, count, names));
    };
    // Kept, as others may take it from the object meanwhile.
    const py::object kept = count == 0 ? py::object() : call_function_in(of(self), objects[0]);
    CallFunction* const function = kept ? call_function_of(kept.ptr()) : nullptr;
    if (function == nullptr) return call();
    const GivenArguments given(self, objects + 1, count - 1, names);
    if (auto result = function->repeat(given)) return *std::move(result);
    if (!given.are_plain()) return call();
    CallFunction::Recording recording;
    auto result = call();
    if (!result) return result;
    if (const auto* const done = recording.only_one_of(*function)) {
        if (done->result == result.ptr()) function->remember(given, *done);
    }
    return result;
}

PyObject* call(PyObject* self, PyObject* const* objects, std::size_t flags, PyObject* names) {
    const auto count = static_cast<std::size_t>(PyVectorcall_NARGS(flags));
    try {
        return call_method(self, objects, count, names).release().ptr();
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (...) {
        py::detail::try_translate_exceptions();
    }
    return nullptr;
}

PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject* names) {
    PyObject* method = nullptr;
    if (names != nullptr && PyDict_GET_SIZE(names) > 0) {
        PyErr_SetString(PyExc_TypeError, "Shortcut takes a method, and nothing by name");
        return nullptr;
    }
    if (PyArg_ParseTuple(arguments, "O:Shortcut", &method) == 0) return nullptr;
    PyObject* const self = type->tp_alloc(type, 0);
    if (self == nullptr) return nullptr;
    of(self).call = &call;
    of(self).method = Py_NewRef(method);
    return self;
}

PyObject* bind(PyObject* self, PyObject* object, PyObject* /*type*/) {
    return object == nullptr ? Py_NewRef(self) : PyMethod_New(self, object);
}

PyObject* represent(PyObject* self) { return PyObject_Repr(of(self).method); }

/// As of functions, all that is stored is where it is found.
PyObject* reduce(PyObject* self, PyObject* /*arguments*/) {
    return PyObject_GetAttrString(self, "__qualname__");
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(of(self).method);
    Py_VISIT(of(self).attributes);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(of(self).method);
    Py_CLEAR(of(self).attributes);
    return 0;
}

void destroy(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    static_cast<void>(clear(self));
    type->tp_free(self);
    Py_DECREF(type);
}

template <typename Function>
void* slot(Function* function) {
    return reinterpret_cast<void*>(function);
}

}  // namespace

void bind_shortcut(py::module_& m) {
    static PyMemberDef members[] = {
        {"__vectorcalloffset__", T_PYSSIZET, offsetof(Shortcut, call), READONLY, nullptr},
        {"__dictoffset__", T_PYSSIZET, offsetof(Shortcut, attributes), READONLY, nullptr},
        {nullptr, 0, 0, 0, nullptr}};
    static PyGetSetDef accessors[] = {
        {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
        {nullptr, nullptr, nullptr, nullptr, nullptr}};
    static PyMethodDef methods[] = {{"__reduce__", &reduce, METH_NOARGS, nullptr},
                                    {nullptr, nullptr, 0, nullptr}};
    PyType_Slot slots[] = {{Py_tp_new, slot(&make)},
                           {Py_tp_repr, slot(&represent)},
                           {Py_tp_call, slot(&PyVectorcall_Call)},
                           {Py_tp_descr_get, slot(&bind)},
                           {Py_tp_traverse, slot(&traverse)},
                           {Py_tp_clear, slot(&clear)},
                           {Py_tp_dealloc, slot(&destroy)},
                           {Py_tp_members, members},
                           {Py_tp_methods, methods},
                           {Py_tp_getset, accessors},
                           {0, nullptr}};
    PyType_Spec spec = {"pycoll._core.Shortcut", sizeof(Shortcut), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                            Py_TPFLAGS_METHOD_DESCRIPTOR,
                        slots};
    auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
    if (!type) throw py::error_already_set();
    m.add_object("Shortcut", type);
}

}  // namespace pycoll
